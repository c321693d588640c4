#include "residual_conv.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "residual_conv_plan.h"
#include "residual_conv_steps.h"
#include "residual_conv_window.h"
#include "residual_pointwise.h"

#ifdef EDGEML_HAS_NEON_DOTPROD
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace edgeml {
namespace {

// Pixels that are computed in one go: enough to keep weights in the cache, few enough to keep codes there.
constexpr std::size_t kPieceRows = 8;
constexpr std::size_t kPieceColumns = 32;
constexpr std::size_t kPieceBytes = std::size_t{1} << 22;  // of the taps of a piece, unless one row has more

std::size_t size(std::int64_t value) { return static_cast<std::size_t>(value); }

template <class Task>
void run_tasks(const Parallel& parallel, std::size_t tasks, const Task& task) {
  parallel.run(
      tasks, [](void* context, std::size_t i) { (*static_cast<const Task*>(context))(i); }, const_cast<Task*>(&task));
}

// Kept by each thread from frame to frame.
struct Scratch {
  AlignedVector<std::uint8_t> codes, changed, active;
  WindowScratch window;
};

Scratch& scratch() {
  static thread_local Scratch kept;
  return kept;
}

class Convolution final : public ResidualConvolution {
 public:
  Convolution(const ConvGeometry& geometry, const std::int8_t* weights, const float* multiplier,
              const std::int32_t* bias, const std::uint8_t* table, const ResidualSettings& settings, Isa isa)
      : geometry_(geometry),
        settings_(settings),
        steps_(residual_conv_steps_of(isa)),
        code_steps_(residual_steps_of(isa)),
        filters_(geometry, weights, multiplier, bias, settings.x_zero_point - steps_.code_offset,
                 steps_.filters_innermost),
        table_(table, table + 256) {
    const std::size_t row_bytes = kPieceRows * size(geometry.bits_per_filter() * geometry.group);
    piece_columns_ = std::clamp<std::size_t>(kPieceBytes / row_bytes, 1, kPieceColumns);
    has_table_ = table_or_null(table) != nullptr;
  }

  const ConvGeometry& geometry() const override { return geometry_; }

  void run(const ResidualFrame& frame, const Parallel& parallel) const override {
    if (frame.batch == 0) return;
    const std::shared_ptr<const ResidualPlan> plan = plan_for(frame.height, frame.width);
    const std::size_t rows = plan->rows.tiles(), columns = plan->columns.tiles();
    // More tasks than threads, so that threads whose tiles are still do not wait for the others.
    const std::size_t wanted = parallel.threads() > 1 ? 4 * parallel.threads() : 1;
    const std::size_t all_rows = size(frame.batch) * rows;
    const std::size_t parts = std::min(columns, (wanted + all_rows - 1) / all_rows);
    run_tasks(parallel, all_rows * parts, [&](std::size_t task) {
      const std::size_t part = task % parts, row = task / parts % rows, n = task / parts / rows;
      run_tiles({frame, *plan, n}, row, {columns * part / parts, columns * (part + 1) / parts});
    });
  }

 private:
  // One image of a frame.
  struct Image {
    const ResidualFrame& frame;
    const ResidualPlan& plan;
    std::size_t n;

    // Of an output pixel among all of the frame.
    std::size_t pixel(std::size_t row, std::size_t column) const {
      return (n * plan.out_height + row) * plan.out_width + column;
    }
  };

  // The tiles of a row from tiles.first up to tiles.last.
  void run_tiles(const Image& image, std::size_t row, const Range& tiles) const {
    const ResidualPlan& plan = image.plan;
    const std::size_t width = size(plan.width), count = tiles.last - tiles.first;
    std::uint8_t* const active = room(scratch().active, count);
    mark_active(image.frame.changed + image.n * size(plan.height) * width, width, plan.rows, row, plan.columns,
                tiles.first, tiles.last, room(scratch().changed, width), active);
    const Range rows{row * plan.tile, std::min((row + 1) * plan.tile, plan.out_height)};
    std::size_t next = 0;
    for (std::size_t i = 0; i < count; i = next) {
      next = i + 1;
      // Neighbours of one kind go together, but each active tile has a threshold of its own.
      const bool alone = active[i] && settings_.threshold > 0;
      while (next < count && active[next] == active[i] && !alone) ++next;
      const Rectangle part{rows,
                           {(tiles.first + i) * plan.tile,
                            std::min((tiles.first + next) * plan.tile, plan.out_width)}};
      if (!active[i]) {
        keep(image, part);
      } else if (settings_.threshold == 0) {
        each_piece(part, [&](const Rectangle& piece) {
          std::uint8_t* const codes = room(scratch().codes, piece.pixels() * out_channels());
          compute(image, piece, codes);
          renew(image, piece, codes);
        });
      } else {
        renew_beyond_threshold(image, part);
      }
    }
  }

  void renew_beyond_threshold(const Image& image, const Rectangle& tile) const {
    std::uint8_t* const codes = room(scratch().codes, tile.pixels() * out_channels());
    const auto each = [&](const auto& use) {
      std::uint8_t* here = codes;
      each_piece(tile, [&](const Rectangle& piece) {
        use(piece, here);
        here += piece.pixels() * out_channels();
      });
    };
    // 16 * difference > threshold, for integers.
    const auto limit = static_cast<std::uint8_t>(std::min<std::int64_t>(settings_.threshold / 16, 255));
    std::uint8_t beyond = 0;
    each([&](const Rectangle& piece, std::uint8_t* here) {
      compute(image, piece, here);
      const std::size_t count = piece.width() * out_channels();
      for (std::size_t row = piece.rows.first; row < piece.rows.last; ++row, here += count) {
        const std::size_t first = image.pixel(row, piece.columns.first) * out_channels();
        code_steps_.mark_tiles(here, image.frame.output.previous + first, count, count, limit, &beyond);
      }
    });
    if (!beyond) return keep(image, tile);
    each([&](const Rectangle& piece, std::uint8_t* here) { renew(image, piece, here); });
  }

  template <class Use>
  void each_piece(const Rectangle& whole, const Use& use) const {
    for (std::size_t row = whole.rows.first; row < whole.rows.last; row += kPieceRows) {
      for (std::size_t column = whole.columns.first; column < whole.columns.last; column += piece_columns_) {
        use(Rectangle{{row, std::min(row + kPieceRows, whole.rows.last)},
                      {column, std::min(column + piece_columns_, whole.columns.last)}});
      }
    }
  }

  void keep(const Image& image, const Rectangle& part) const {
    for (std::size_t row = part.rows.first; row < part.rows.last; ++row) {
      image.frame.output.keep(image.pixel(row, part.columns.first), image.pixel(row, part.columns.last));
    }
  }

  // codes: (height, width, out_channels) of the piece.
  void renew(const Image& image, const Rectangle& piece, const std::uint8_t* codes) const {
    for (std::size_t row = piece.rows.first; row < piece.rows.last; ++row, codes += piece.width() * out_channels()) {
      image.frame.output.renew(code_steps_, image.pixel(row, piece.columns.first), piece.width(), codes);
    }
  }

  // The new codes, (height, width, out_channels), of a piece.
  void compute(const Image& image, const Rectangle& piece, std::uint8_t* codes) const {
    const auto padding = static_cast<std::uint8_t>(settings_.x_zero_point);
    const Window window =
        place_window({geometry_, filters_, image.plan, image.frame.x, image.frame.batch, image.n, padding}, piece,
                     scratch().window);
    PixelGroup group{};
    group.offsets = window.offsets;
    group.pixels = piece.pixels();
    group.run_offsets = window.run_offsets;
    group.runs = filters_.runs;
    group.run_words = filters_.run_words;
    group.filters = filters_.filters;
    group.zero_point = static_cast<std::int32_t>(settings_.y_zero_point);
    group.codes_stride = out_channels();
    const std::size_t padded_filters = filters_.blocks * kFilters;
    for (std::size_t g = 0; g < filters_.groups; ++g) {
      group.x = window.x + g * filters_.group_bytes;
      group.weights = filters_.weights.data() + g * filters_.group_weights();
      group.bias = filters_.bias.data() + g * padded_filters;
      group.multiplier = filters_.multiplier.data() + g * padded_filters;
      group.codes = codes + g * filters_.filters;
      (filters_.depthwise ? steps_.convolve_depthwise : steps_.convolve)(group);
    }
    if (has_table_) code_steps_.look_up(codes, piece.pixels() * out_channels(), table_.data(), codes);
  }

  std::shared_ptr<const ResidualPlan> plan_for(std::int64_t height, std::int64_t width) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!plan_ || plan_->height != height || plan_->width != width) {
      plan_ = std::make_shared<const ResidualPlan>(geometry_, filters_, settings_.tile, height, width);
    }
    return plan_;
  }

  std::size_t out_channels() const { return size(geometry_.out_channels); }

  ConvGeometry geometry_;
  ResidualSettings settings_;
  const ResidualConvSteps& steps_;
  const ResidualSteps& code_steps_;
  PackedFilters filters_;
  std::vector<std::uint8_t> table_;
  bool has_table_ = false;
  std::size_t piece_columns_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const ResidualPlan> plan_;  // of the last image size
};

void require(bool holds, const char* name, std::int64_t value, const char* allowed) {
  if (!holds) throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) + "; " + allowed);
}

}  // namespace

const ResidualConvSteps& residual_conv_steps_of(Isa isa) {
  switch (isa) {
#ifdef EDGEML_HAS_NEON
    case Isa::neon:
#ifdef EDGEML_HAS_NEON_DOTPROD
      if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) return neon_dotprod_residual_conv_steps;
#endif
      return neon_residual_conv_steps;
#endif
#ifdef EDGEML_HAS_AVX512
    case Isa::avx512_vpopcntdq:
      // All known processors of that kind have both; an emulator may not.
      if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi")) {
        return avx512_residual_conv_steps;
      }
      [[fallthrough]];
#endif
#ifdef EDGEML_HAS_AVX2
    case Isa::avx2:
      return avx2_residual_conv_steps;
#endif
    default:
      return scalar_residual_conv_steps;
  }
}

std::unique_ptr<ResidualConvolution> ResidualConvolution::create(const ConvGeometry& geometry,
                                                                 const std::int8_t* weights, const float* multiplier,
                                                                 const std::int32_t* bias, const std::uint8_t* table,
                                                                 const ResidualSettings& settings, Isa isa) {
  check(geometry);
  const auto is_code = [](std::int64_t value) { return value >= 0 && value <= 255; };
  require(is_code(settings.x_zero_point), "x_zero_point", settings.x_zero_point, "allowed are 0 to 255");
  require(is_code(settings.y_zero_point), "y_zero_point", settings.y_zero_point, "allowed are 0 to 255");
  require(settings.tile >= 1, "tile", settings.tile, "it must be at least 1");
  require(settings.threshold >= 0, "threshold", settings.threshold, "it must be at least 0");
  for (std::int64_t m = 0; m < geometry.out_channels; ++m) {
    if (!std::isfinite(multiplier[m])) throw std::invalid_argument("multiplier holds a value that is not finite");
  }
  return std::make_unique<Convolution>(geometry, weights, multiplier, bias, table, settings, isa);
}

}  // namespace edgeml
