#include "tree_conv.h"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <utility>

#include "aligned.h"
#include "filter_tree.h"

namespace edgeml {
namespace {

constexpr std::int64_t kMostPlaces = 32767;  // counts are 16 bits, with a sign
constexpr std::size_t kMostBlocks = std::size_t{1} << 22;  // positions are 32 bits

std::size_t size(std::int64_t value) { return static_cast<std::size_t>(value); }

// Kept by each thread from run to run: large blocks of fresh memory cost more than what is computed in them.
template <typename Value>
Value* scratch(std::size_t count) {
  static thread_local AlignedVector<Value> kept;
  if (kept.size() < count) kept.resize(count);
  return kept.data();
}

template <typename Task>
void run_tasks(const Parallel& parallel, std::size_t tasks, Task& task) {
  parallel.run(tasks, [](void* context, std::size_t i) { (*static_cast<Task*>(context))(i); }, &task);
}

}  // namespace

// Where bits lie for one image size. With strides the padded image falls into phases, one for each remainder of row and
// column, in which every tap walks with stride 1: its plane is then the phase's bits from some place on. Positions run
// over whole rows of a phase, so that a few at the end of each row are computed and not used.
struct TreeConvolution::Plan {
  std::size_t height, width, out_height, out_width;
  std::size_t row;          // positions in a row of a phase
  std::size_t blocks;       // of kPlaneBits positions
  std::size_t phase_words;  // of one channel
  std::size_t phases;
  std::vector<std::size_t> taps;  // where the bits of a tap begin among all of one channel
  struct Line {
    std::size_t place, phase;  // where a row of the image begins in a phase, and its first phase
  };
  std::vector<Line> lines;     // (height)
  // Parts of rows in a block that are outputs.
  struct Segment {
    std::uint32_t position, length;  // position: in the block
    std::size_t output;              // where it begins among the outputs of a channel
  };
  std::vector<Segment> segments;
  std::vector<std::size_t> first_segment;  // (blocks + 1)
  // Positions at which taps fall on padding, whose signs are taken for +1: what to take off their counts again.
  struct Edge {
    std::size_t position;  // among all
    std::uint32_t pattern;
  };
  std::vector<Edge> edges;                 // by position
  std::vector<std::size_t> first_edge;     // (blocks + 1)
  std::vector<std::int16_t> corrections;   // (out_channels, patterns)
  std::size_t patterns = 0;

  Plan(const ConvGeometry& g, const std::vector<std::int32_t>& tap_sums, std::int64_t in_height, std::int64_t in_width)
      : height(size(in_height)), width(size(in_width)), out_height(size(g.out_size(0, in_height))),
        out_width(size(g.out_size(1, in_width))) {
    const std::size_t strides[2] = {size(g.strides[0]), size(g.strides[1])};
    const std::size_t reach = (size(g.kernel[1]) - 1) * size(g.dilations[1]) / strides[1];
    row = out_width + reach;
    phases = strides[0] * strides[1];
    blocks = (out_height * row + kPlaneBits - 1) / kPlaneBits;
    if (blocks > kMostBlocks) throw std::invalid_argument("the image is too large for the tree kernel");
    std::vector<std::size_t> phase_of;
    std::size_t furthest = 0;
    for (std::size_t y = 0; y < size(g.kernel[0]); ++y) {
      for (std::size_t x = 0; x < size(g.kernel[1]); ++x) {
        const std::size_t down = y * size(g.dilations[0]), right = x * size(g.dilations[1]);
        phase_of.push_back(down % strides[0] * strides[1] + right % strides[1]);
        taps.push_back(down / strides[0] * row + right / strides[1]);
        furthest = std::max(furthest, taps.back());
      }
    }
    phase_words = blocks * kPlaneWords + furthest / 64 + 2;
    for (std::size_t t = 0; t < taps.size(); ++t) taps[t] += phase_of[t] * phase_words * 64;
    for (std::size_t iy = 0; iy < height; ++iy) {
      const std::size_t padded = iy + size(g.pads[0]);
      lines.push_back({padded / strides[0] * row, padded % strides[0] * strides[1]});
    }
    find_segments();
    find_edges(g, tap_sums);
  }

 private:
  void find_segments() {
    for (std::size_t block = 0; block < blocks; ++block) {
      first_segment.push_back(segments.size());
      const std::size_t start = block * kPlaneBits, end = std::min(start + kPlaneBits, out_height * row);
      for (std::size_t at = start, next = 0; at < end; at = next) {
        const std::size_t oy = at / row, ox = at % row;
        next = std::min((oy + 1) * row, end);
        if (ox >= out_width) continue;
        segments.push_back({static_cast<std::uint32_t>(at - start),
                            static_cast<std::uint32_t>(std::min(out_width - ox, next - at)), oy * out_width + ox});
      }
    }
    first_segment.push_back(segments.size());
  }

  void find_edges(const ConvGeometry& g, const std::vector<std::int32_t>& tap_sums) {
    std::map<std::vector<bool>, std::uint32_t> known;
    std::vector<std::vector<bool>> all;
    for (std::size_t oy = 0; oy < out_height; ++oy) {
      for (std::size_t ox = 0; ox < out_width; ++ox) {
        std::vector<bool> outside;
        bool any = false;
        for (std::int64_t y = 0; y < g.kernel[0]; ++y) {
          const std::int64_t iy = static_cast<std::int64_t>(oy) * g.strides[0] + y * g.dilations[0] - g.pads[0];
          for (std::int64_t x = 0; x < g.kernel[1]; ++x) {
            const std::int64_t ix = static_cast<std::int64_t>(ox) * g.strides[1] + x * g.dilations[1] - g.pads[1];
            outside.push_back(iy < 0 || ix < 0 || size(iy) >= height || size(ix) >= width);
            any = any || outside.back();
          }
        }
        if (!any) continue;
        const auto found = known.emplace(outside, static_cast<std::uint32_t>(known.size()));
        if (found.second) all.push_back(std::move(outside));
        edges.push_back({oy * row + ox, found.first->second});
      }
    }
    patterns = all.size();
    const std::size_t filters = size(g.out_channels);
    corrections.resize(filters * patterns);
    for (std::size_t m = 0; m < filters; ++m) {
      for (std::size_t p = 0; p < patterns; ++p) {
        std::int32_t sum = 0;
        for (std::size_t t = 0; t < taps.size(); ++t) sum += all[p][t] ? tap_sums[m * taps.size() + t] : 0;
        corrections[m * patterns + p] = static_cast<std::int16_t>(sum);
      }
    }
    std::size_t next = 0;
    for (std::size_t block = 0; block <= blocks; ++block) {
      while (next < edges.size() && edges[next].position < block * kPlaneBits) ++next;
      first_edge.push_back(next);
    }
  }
};

bool TreeConvolution::takes(const ConvGeometry& geometry) {
  return geometry.group == 1 && geometry.bits_per_filter() <= kMostPlaces;
}

TreeConvolution::TreeConvolution(const ConvGeometry& geometry, const std::uint8_t* weights, const std::int64_t* parents,
                                 const float* threshold, const float* scale, const float* bias, Isa isa)
    : geometry_(geometry), steps_(tree_steps_of(isa)), taps_(size(geometry.kernel[0] * geometry.kernel[1])),
      places_(size(geometry.bits_per_filter())), planes_(1), threshold_(threshold, threshold + geometry.channels),
      scale_(scale, scale + geometry.out_channels), bias_(bias, bias + geometry.out_channels) {
  check(geometry);
  if (!takes(geometry)) throw std::invalid_argument("the tree kernel takes one group and at most 32767 bits a filter");
  while (places_ >> planes_) ++planes_;
  const std::size_t filters = size(geometry.out_channels), bytes = size(geometry.bytes_per_filter());
  const std::vector<std::int64_t> order = parents_first({parents, parents + filters});
  const auto bit = [&](std::size_t filter, std::size_t place) {
    return static_cast<std::size_t>(weights[filter * bytes + place / 8] >> (place % 8) & 1);
  };
  std::vector<std::int32_t> excess(filters, 0);
  for (const std::int64_t each : order) {
    const std::size_t own = size(each), parent = size(parents[own]);
    const std::size_t first = lists_.size();
    for (std::size_t place = 0; place < places_; ++place) {
      // The complement's plane where the weight is -1: set where input and filter differ.
      if (own == parent || bit(own, place) != bit(parent, place)) {
        lists_.push_back(static_cast<std::uint32_t>(place + bit(own, place) * places_));
      }
    }
    if (own != parent) excess[own] = excess[parent] + static_cast<std::int32_t>(lists_.size() - first);
    while ((lists_.size() - first) % kChunk) lists_.push_back(static_cast<std::uint32_t>(2 * places_));  // of zeros
    filters_.push_back({static_cast<std::uint32_t>(own), static_cast<std::uint32_t>(parent),
                        static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(lists_.size() - first),
                        excess[own]});
  }
  tap_sums_.assign(filters * taps_, 0);
  for (std::size_t m = 0; m < filters; ++m) {
    std::int32_t* const sums = tap_sums_.data() + m * taps_;
    for (std::size_t place = 0; place < places_; ++place) sums[place % taps_] += bit(m, place) ? -1 : 1;
  }
}

std::shared_ptr<const TreeConvolution::Plan> TreeConvolution::plan(std::int64_t height, std::int64_t width) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!last_ || last_->height != size(height) || last_->width != size(width)) {
    last_ = std::make_shared<const Plan>(geometry_, tap_sums_, height, width);
  }
  return last_;
}

void TreeConvolution::run(const float* x, std::int64_t batch, std::int64_t height, std::int64_t width, float* y,
                          const Parallel& parallel) const {
  if (batch == 0) return;
  const std::shared_ptr<const Plan> shared = plan(height, width);
  const Plan& p = *shared;
  const std::size_t channels = size(geometry_.channels), filters = size(geometry_.out_channels), images = size(batch);
  const std::size_t channel_words = p.phases * p.phase_words;
  AlignedVector<std::uint64_t> signs(images * channels * channel_words, 0);  // (batch, channel, phase, phase_words)

  const std::size_t stride = size(geometry_.strides[1]), left = size(geometry_.pads[1]);
  auto pack = [&](std::size_t task) {
    const float threshold = threshold_[task % channels];
    std::uint64_t* const out = signs.data() + task * channel_words;
    for (std::size_t iy = 0; iy < p.height; ++iy) {
      const float* const line = x + (task * p.height + iy) * p.width;
      const auto put = [&](std::size_t phase_column, std::size_t column, std::uint64_t bits, std::size_t count) {
        // What lies beyond the last tap of a row would run into the next.
        if (column >= p.row) return;
        if (count > p.row - column) bits &= (std::uint64_t{1} << (p.row - column)) - 1;
        const std::size_t place = p.lines[iy].place + column;
        if (place / 64 + 1 >= p.phase_words) return;  // rows that no tap reaches
        std::uint64_t* const word = out + (p.lines[iy].phase + phase_column) * p.phase_words + place / 64;
        word[0] |= bits << (place % 64);
        word[1] |= bits >> 1 >> (63 - place % 64);
      };
      if (stride == 1) {
        for (std::size_t ix = 0; ix < p.width; ix += 64) {
          const std::size_t count = std::min<std::size_t>(64, p.width - ix);
          put(0, ix + left, steps_.sign_bits(line + ix, count, threshold), count);
        }
      } else {
        for (std::size_t ix = 0; ix < p.width; ++ix) {
          put((ix + left) % stride, (ix + left) / stride, line[ix] < threshold, 1);
        }
      }
    }
  };
  run_tasks(parallel, images * channels, pack);

  auto convolve = [&](std::size_t task) {
    const std::size_t image = task / p.blocks, block = task % p.blocks;
    const std::size_t place_words = (2 * places_ + 1) * kPlaneWords;
    std::uint64_t* const places = scratch<std::uint64_t>(place_words + filters * planes_ * kPlaneWords);
    std::uint64_t* const sums = places + place_words;
    for (std::size_t c = 0; c < channels; ++c) {
      const std::uint64_t* const channel = signs.data() + (image * channels + c) * channel_words;
      steps_.cut_planes(channel, p.taps.data(), taps_, block * kPlaneBits, places + c * taps_ * kPlaneWords, places_);
    }
    std::fill(sums - kPlaneWords, sums, 0);
    steps_.add_up(filters_.data(), filters_.size(), lists_.data(), places, planes_, sums);

    std::int16_t counts[kPlaneBits + 32];
    const Plan::Segment* const segments = p.segments.data();
    const Plan::Edge* const first_edge = p.edges.data() + p.first_edge[block];
    const Plan::Edge* const last_edge = p.edges.data() + p.first_edge[block + 1];
    for (const TreeFilter& filter : filters_) {
      const std::size_t m = filter.channel;
      steps_.to_counts(sums + m * planes_ * kPlaneWords, planes_, filter.excess, static_cast<std::int32_t>(places_),
                       counts);
      const std::int16_t* const corrections = p.corrections.data() + m * p.patterns;
      for (const Plan::Edge* edge = first_edge; edge != last_edge; ++edge) {
        std::int16_t& count = counts[edge->position % kPlaneBits];
        count = static_cast<std::int16_t>(count - corrections[edge->pattern]);
      }
      float* const out = y + (image * filters + m) * p.out_height * p.out_width;
      for (std::size_t i = p.first_segment[block]; i < p.first_segment[block + 1]; ++i) {
        steps_.to_floats(counts + segments[i].position, segments[i].length, scale_[m], bias_[m],
                         out + segments[i].output);
      }
    }
  };
  run_tasks(parallel, images * p.blocks, convolve);
}

const TreeSteps& tree_steps_of(Isa isa) {
  switch (isa) {
#ifdef EDGEML_HAS_NEON
    case Isa::neon:
      return neon_tree_steps;
#endif
#ifdef EDGEML_HAS_AVX2
    case Isa::avx2:
      return avx2_tree_steps;
#endif
#ifdef EDGEML_HAS_AVX512
    case Isa::avx512_vpopcntdq:
      return avx512_tree_steps;
#endif
    default:
      return scalar_tree_steps;
  }
}

}  // namespace edgeml
