#include "binary_conv.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "aligned.h"
#include "binary_conv_plan.h"
#include "binary_conv_steps.h"

namespace edgeml {
namespace {

constexpr std::size_t kChunk = 112;  // pixels that wait, channels side by side, to be turned into planes
constexpr std::size_t kMostBlocks = 2;
constexpr std::int64_t kLargest = std::int64_t{1} << 15;    // of a kernel, stride, dilation or padding
constexpr std::int64_t kExactFloat = std::int64_t{1} << 24;  // counts up to here are exact in float32

std::size_t size(std::int64_t value) { return static_cast<std::size_t>(value); }

void require(bool holds, const char* name, std::int64_t value, const std::string& allowed) {
  if (!holds) throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) + "; " + allowed);
}

template <class Task>
void run_tasks(const Parallel& parallel, std::size_t tasks, const Task& task) {
  parallel.run(
      tasks, [](void* context, std::size_t i) { (*static_cast<const Task*>(context))(i); }, const_cast<Task*>(&task));
}

// `whole` split into at most `parts` ranges whose inner borders are multiples of `step`; calls body(first, last).
struct Split {
  std::size_t whole, step, parts;
  Split(std::size_t whole_, std::size_t step_, std::size_t wanted)
      : whole(whole_), step(step_), parts(std::max<std::size_t>(1, std::min(wanted, (whole_ + step_ - 1) / step_))) {}
  std::size_t border(std::size_t part) const {
    if (part == parts) return whole;
    return (whole + step - 1) / step * part / parts * step;
  }
};

class Convolution final : public BinaryConvolution {
 public:
  Convolution(const ConvGeometry& geometry, const std::uint8_t* weights, const float* threshold, const float* scale,
              const float* bias, Isa isa)
      : geometry_(geometry),
        steps_(steps_of(isa)),
        weights_(geometry, weights),
        threshold_(threshold, threshold + geometry.channels),
        scale_(padded(scale)),
        bias_(padded(bias)) {}

  const ConvGeometry& geometry() const override { return geometry_; }

  void run(const float* x, std::int64_t batch, std::int64_t height, std::int64_t width, float* y,
           const Parallel& parallel) const override {
    if (batch == 0) return;
    const std::shared_ptr<const Plan> plan = plan_for(height, width);
    const std::size_t image = plan->image_words();
    AlignedVector<std::uint32_t> bits(size(batch) * image);
    pack(x, size(batch), *plan, bits.data(), parallel);

    const std::size_t step = std::min(weights_.blocks, steps_.most_blocks);
    const std::size_t group_tiles = (weights_.blocks + step - 1) / step;
    const std::size_t tiles = size(geometry_.group) * group_tiles;
    const Split split(plan->pixels(), kBlock, parts_for(size(batch) * tiles, parallel));
    const std::size_t filters = size(geometry_.out_channels / geometry_.group);
    run_tasks(parallel, size(batch) * tiles * split.parts, [&](std::size_t task) {
      const std::size_t part = task % split.parts;
      const std::size_t group = task / split.parts % tiles / group_tiles;
      const std::size_t first_block = task / split.parts % group_tiles * step;
      const std::size_t n = task / split.parts / tiles;
      const std::size_t blocks = std::min(step, weights_.blocks - first_block);
      const std::size_t block = group * weights_.blocks + first_block;
      const std::size_t channel = group * filters + first_block * kBlock;
      float* const planes = y + (n * size(geometry_.out_channels) + channel) * plan->pixels();
      alignas(64) float rows[kChunk * kMostBlocks * kBlock];
      Epilogue epilogue{};
      epilogue.scale = scale_.data() + block * kBlock;
      epilogue.bias = bias_.data() + block * kBlock;
      epilogue.y = rows;
      epilogue.pixel_stride = blocks * kBlock;
      const std::size_t last = split.border(part + 1);
      for (std::size_t first = split.border(part); first < last; first += kChunk) {
        const std::size_t here = std::min(kChunk, last - first);
        steps_.to_float(tile(*plan, bits.data() + n * image, block, blocks, first, here), epilogue);
        for (std::size_t b = 0; b < blocks; ++b) {
          steps_.to_planes(rows + b * kBlock, epilogue.pixel_stride, here, planes + b * kBlock * plan->pixels() + first,
                           plan->pixels(), std::min(kBlock, filters - (first_block + b) * kBlock));
        }
      }
    });
  }

  void run_packed(const std::uint32_t* x, std::int64_t batch, std::int64_t height, std::int64_t width,
                  const PackedLayer& layer, const Parallel& parallel) const override {
    if (batch == 0) return;
    const std::shared_ptr<const Plan> plan = plan_for(height, width);
    const std::size_t image = plan->image_words();
    AlignedVector<std::uint32_t> padded_image;
    const std::uint32_t* bits = x;
    if (image != size(height * width) * weights_.words) {
      padded_image.resize(size(batch) * image);
      pad(x, size(batch), *plan, padded_image.data());
      bits = padded_image.data();
    }
    const std::size_t channels = size(geometry_.out_channels);
    const std::size_t out_halves = 2 * ((channels + kWordBits - 1) / kWordBits);
    if (layer.bits && channels % kWordBits != 0) {
      std::fill_n(layer.bits, size(batch) * plan->pixels() * out_halves / 2, 0U);
    }
    const bool only_signs = layer.bits && !layer.y && !layer.slope && !layer.post_scale && !layer.residual &&
                            !layer.residual_slope && finite_;
    const std::shared_ptr<const Limits> limits = only_signs ? limits_for(plan, layer.threshold) : nullptr;
    const std::size_t step = std::min(weights_.blocks, steps_.most_blocks);
    const std::size_t tiles = (weights_.blocks + step - 1) / step;
    const Split split(plan->pixels(), kBlock, parts_for(size(batch) * tiles, parallel));
    run_tasks(parallel, size(batch) * tiles * split.parts, [&](std::size_t task) {
      const std::size_t part = task % split.parts;
      const std::size_t block = task / split.parts % tiles * step;
      const std::size_t n = task / split.parts / tiles;
      const std::size_t first = split.border(part);
      const std::size_t channel = block * kBlock;
      const Tile here = tile(*plan, bits + n * image, block, std::min(step, weights_.blocks - block), first,
                             split.border(part + 1) - first);
      const std::size_t pixel = n * plan->pixels() + first;
      auto* halves =
          layer.bits ? reinterpret_cast<std::uint16_t*>(layer.bits) + pixel * out_halves + block : nullptr;
      if (limits) {
        steps_.to_signs(here, {limits->limit.data() + channel, limits->flip.data() + block, halves, out_halves});
        return;
      }
      const auto at = [&](const float* values) { return values ? values + channel : nullptr; };
      Epilogue epilogue{};
      epilogue.scale = scale_.data() + channel;
      epilogue.bias = bias_.data() + channel;
      epilogue.slope = at(layer.slope);
      epilogue.post_scale = at(layer.post_scale);
      epilogue.post_bias = at(layer.post_bias);
      epilogue.residual = layer.residual ? layer.residual + pixel * channels + channel : nullptr;
      epilogue.shift_in = at(layer.shift_in);
      epilogue.rslope = at(layer.residual_slope);
      epilogue.shift_out = at(layer.shift_out);
      epilogue.y = layer.y ? layer.y + pixel * channels + channel : nullptr;
      epilogue.pixel_stride = channels;
      epilogue.threshold = at(layer.threshold);
      epilogue.bits = halves;
      epilogue.bits_stride = out_halves;
      steps_.to_float(here, epilogue);
    });
  }

 private:
  // For which popcounts a channel is negative, at each pattern of padding.
  struct Limits {
    std::shared_ptr<const Plan> plan;
    std::vector<float> threshold;
    AlignedVector<std::int32_t> limit;  // (patterns, padded output channels)
    std::vector<std::uint16_t> flip;  // (blocks)
  };

  AlignedVector<float> padded(const float* values) {
    const std::size_t filters = size(geometry_.out_channels / geometry_.group);
    AlignedVector<float> result(weights_.padded_out_channels(geometry_), 0.0F);
    for (std::size_t m = 0; m < size(geometry_.out_channels); ++m) {
      result[m / filters * weights_.blocks * kBlock + m % filters] = values[m];
      finite_ = finite_ && std::isfinite(values[m]);
    }
    return result;
  }

  std::shared_ptr<const Plan> plan_for(std::int64_t height, std::int64_t width) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!plan_ || plan_->height != height || plan_->width != width) {
      plan_ = std::make_shared<const Plan>(geometry_, weights_, height, width);
    }
    return plan_;
  }

  std::shared_ptr<const Limits> limits_for(const std::shared_ptr<const Plan>& plan, const float* threshold) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (limits_ && limits_->plan == plan &&
        std::equal(limits_->threshold.begin(), limits_->threshold.end(), threshold)) {
      return limits_;
    }
    auto made = std::make_shared<Limits>();
    made->plan = plan;
    made->threshold.assign(threshold, threshold + geometry_.out_channels);
    made->limit.assign(plan->base.size(), 0);
    made->flip.assign(weights_.blocks, 0);
    const std::size_t row = weights_.padded_out_channels(geometry_);
    for (std::size_t i = 0; i < plan->base.size(); ++i) {
      const std::size_t m = i % row;
      if (m >= size(geometry_.out_channels)) continue;
      const bool flips = scale_[m] < 0;
      // scale * count + bias moves one way as the popcount grows, in float32 too: rounding keeps order.
      const auto beyond = [&](std::int32_t popcount) {
        return (scale_[m] * static_cast<float>(plan->base[i] - 2 * popcount) + bias_[m] < threshold[m]) != flips;
      };
      std::int32_t low = -1;  // not beyond, or before every popcount
      std::int32_t high = static_cast<std::int32_t>(geometry_.bits_per_filter()) + 1;
      while (high - low > 1) {
        const std::int32_t middle = low + (high - low) / 2;
        (beyond(middle) ? high : low) = middle;
      }
      made->limit[i] = low;
      if (flips) made->flip[m / kBlock] |= static_cast<std::uint16_t>(1U << (m % kBlock));
    }
    limits_ = made;
    return made;
  }

  // More tasks than threads, so that one slow thread does not hold the others up.
  static std::size_t parts_for(std::size_t tasks, const Parallel& parallel) {
    const std::size_t wanted = parallel.threads() > 1 ? 3 * parallel.threads() : 1;
    return (wanted + tasks - 1) / tasks;
  }

  Tile tile(const Plan& plan, const std::uint32_t* image, std::size_t block, std::size_t blocks, std::size_t first,
            std::size_t pixels) const {
    return {image + block / weights_.blocks * weights_.words,
            plan.offsets.data() + first,
            plan.patterns.data() + first,
            pixels,
            plan.run_offsets.data(),
            plan.run_offsets.size(),
            plan.run_words,
            weights_.bits.data() + block * weights_.block_words,
            blocks,
            plan.base.data() + block * kBlock};
  }

  void pack(const float* x, std::size_t batch, const Plan& plan, std::uint32_t* out, const Parallel& parallel) const {
    const std::size_t plane = plan.in_offsets.size();
    const std::size_t channels = size(geometry_.channels_per_group());
    const auto groups = size(geometry_.group);
    for (std::size_t n = 0; n < batch; ++n) plan.zero_border(geometry_, out + n * plan.image_words());
    const Split split(plane, kBlock, parts_for(batch * groups, parallel));
    run_tasks(parallel, batch * groups * split.parts, [&](std::size_t task) {
      const std::size_t part = task % split.parts;
      const std::size_t group = task / split.parts % groups;
      const std::size_t n = task / split.parts / groups;
      const std::size_t first = split.border(part);
      steps_.pack_planes(x + (n * groups + group) * channels * plane + first, plane, threshold_.data() + group * channels,
                         channels, plan.in_offsets.data() + first, split.border(part + 1) - first,
                         out + n * plan.image_words() + group * weights_.words);
    });
  }

  void pad(const std::uint32_t* x, std::size_t batch, const Plan& plan, std::uint32_t* out) const {
    const std::size_t row = size(plan.width) * weights_.words;
    for (std::size_t n = 0; n < batch; ++n) {
      plan.zero_border(geometry_, out + n * plan.image_words());
      for (std::size_t y = 0; y < size(plan.height); ++y) {
        std::copy_n(x + (n * size(plan.height) + y) * row, row,
                    out + n * plan.image_words() + plan.in_offsets[y * size(plan.width)]);
      }
    }
  }

  ConvGeometry geometry_;
  const Steps& steps_;
  PackedWeights weights_;
  bool finite_ = true;
  std::vector<float> threshold_;
  AlignedVector<float> scale_;
  AlignedVector<float> bias_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Plan> plan_;      // of the last image size
  mutable std::shared_ptr<const Limits> limits_;  // of the last plan and thresholds
};

}  // namespace

std::int64_t ConvGeometry::out_size(int axis, std::int64_t in_size) const {
  const auto a = static_cast<std::size_t>(axis);
  const std::int64_t room = in_size + pads[a] + pads[a + 2] - dilations[a] * (kernel[a] - 1) - 1;
  return room < 0 ? 0 : room / strides[a] + 1;
}

void check(const ConvGeometry& g) {
  const std::string positive = "allowed are 1 to " + std::to_string(kLargest);
  require(g.group >= 1, "group", g.group, "it must be at least 1");
  require(g.channels >= 1 && g.channels <= kExactFloat, "channels", g.channels, "allowed are 1 to 2^24");
  require(g.out_channels >= 1 && g.out_channels <= kExactFloat, "the number of filters", g.out_channels,
          "allowed are 1 to 2^24");
  require(g.channels % g.group == 0, "channels", g.channels, "it must be a multiple of group");
  require(g.out_channels % g.group == 0, "the number of filters", g.out_channels, "it must be a multiple of group");
  for (const std::int64_t value : g.kernel) require(value >= 1 && value <= kLargest, "kernel_shape", value, positive);
  for (const std::int64_t value : g.strides) require(value >= 1 && value <= kLargest, "strides", value, positive);
  for (const std::int64_t value : g.dilations) require(value >= 1 && value <= kLargest, "dilations", value, positive);
  for (const std::int64_t value : g.pads) {
    require(value >= 0 && value <= kLargest, "pads", value, "allowed are 0 to " + std::to_string(kLargest));
  }
  require(g.bits_per_filter() <= kExactFloat, "weights in a filter", g.bits_per_filter(), "allowed are 1 to 2^24");
}

const Steps& steps_of(Isa isa) {
  switch (isa) {
#ifdef EDGEML_HAS_NEON
    case Isa::neon:
      return neon_steps;
#endif
#ifdef EDGEML_HAS_AVX2
    case Isa::avx2:
      return avx2_steps;
#endif
#ifdef EDGEML_HAS_AVX512
    case Isa::avx512_vpopcntdq:
      return avx512_steps;
#endif
    default:
      return scalar_steps;
  }
}

std::unique_ptr<BinaryConvolution> BinaryConvolution::create(const ConvGeometry& geometry, const std::uint8_t* weights,
                                                             const float* threshold, const float* scale,
                                                             const float* bias, Isa isa) {
  check(geometry);
  return std::make_unique<Convolution>(geometry, weights, threshold, scale, bias, isa);
}

void pack_signs(const float* x, std::int64_t batch, std::int64_t pixels, std::int64_t channels, const float* threshold,
                bool channels_last, std::uint32_t* out, Isa isa, const Parallel& parallel) {
  const Steps& steps = steps_of(isa);
  const std::size_t words = (size(channels) + kWordBits - 1) / kWordBits;
  const std::size_t area = size(pixels);
  std::vector<std::uint32_t> offsets(channels_last ? 0 : area);
  for (std::size_t i = 0; i < offsets.size(); ++i) offsets[i] = static_cast<std::uint32_t>(i * words);
  const Split split(area, kBlock, parallel.threads());
  run_tasks(parallel, size(batch) * split.parts, [&](std::size_t task) {
    const std::size_t n = task / split.parts;
    const std::size_t first = split.border(task % split.parts);
    const std::size_t here = split.border(task % split.parts + 1) - first;
    std::uint32_t* const image = out + n * area * words;
    if (channels_last) {
      steps.pack_pixels(x + (n * area + first) * size(channels), threshold, size(channels), here,
                        image + first * words);
    } else {
      steps.pack_planes(x + n * size(channels) * area + first, area, threshold, size(channels), offsets.data() + first,
                        here, image);
    }
  });
}

}  // namespace edgeml
