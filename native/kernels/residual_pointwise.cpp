#include "residual_pointwise.h"

#include <cmath>
#include <stdexcept>
#include <string>

#include "aligned.h"
#include "pixel_runs.h"

namespace edgeml {
namespace {

constexpr float kLargestMultiplier = 0x1p100F;  // its product with any code is finite, and so is a sum of two

// Renews the active pixels and keeps the others. renew(first, pixels, buffer) does so for a few; its buffer holds
// `buffer_bytes` for each of them.
template <class Map, class Renew>
void renew_active(const Map& map, const ResidualOutput& output, std::size_t pixels, std::size_t buffer_bytes,
                  const Parallel& parallel, const Renew& renew) {
  const std::size_t longest = pixels_at_once(output.channels);
  in_ranges(parallel, pixels, output.channels, [&](std::size_t first, std::size_t last) {
    AlignedVector<std::uint8_t> buffer(buffer_bytes * longest);
    each_run(
        map, first, last, longest,
        [&](std::size_t from, std::size_t to) { renew(from, to - from, buffer.data()); },
        [&](std::size_t from, std::size_t to) { output.keep(from, to); });
  });
}

// The codes as the table has them: in the buffer, or where they are.
const std::uint8_t* looked_up(const ResidualSteps& steps, const std::uint8_t* codes, std::size_t count,
                              const std::uint8_t* table, std::uint8_t* buffer) {
  if (!table) return codes;
  steps.look_up(codes, count, table, buffer);
  return buffer;
}

void require_code(const char* name, std::int32_t value) {
  if (value < 0 || value > 255) {
    throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) + "; allowed are 0 to 255");
  }
}

void require_multiplier(const char* name, float value) {
  if (!(std::fabs(value) <= kLargestMultiplier)) {
    throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) +
                                "; allowed are finite numbers up to 2^100");
  }
}

}  // namespace

const std::uint8_t* table_or_null(const std::uint8_t* table) {
  for (std::size_t code = 0; code < 256; ++code) {
    if (table[code] != code) return table;
  }
  return nullptr;
}

void check(const AddTerms& terms) {
  require_multiplier("a_multiplier", terms.a_multiplier);
  require_multiplier("b_multiplier", terms.b_multiplier);
  require_code("a_zero_point", terms.a_zero);
  require_code("b_zero_point", terms.b_zero);
  require_code("y_zero_point", terms.y_zero);
}

void residual_add(const PixelCodes& a, const PixelCodes& b, const AddTerms& terms, const std::uint8_t* table,
                  const ResidualOutput& output, std::size_t pixels, const ResidualSteps& steps,
                  const Parallel& parallel) {
  const EitherMap map{{a.changed}, {b.changed}};
  const std::size_t channels = output.channels;
  renew_active(map, output, pixels, channels, parallel, [&](std::size_t first, std::size_t here, std::uint8_t* buffer) {
    const std::size_t at = first * channels;
    steps.add(a.codes + at, b.codes + at, here * channels, terms, buffer);
    output.renew(steps, first, here, looked_up(steps, buffer, here * channels, table, buffer));
  });
}

void residual_concat(const PixelCodes& a, std::size_t a_channels, const PixelCodes& b, const std::uint8_t* a_table,
                     const std::uint8_t* b_table, const ResidualOutput& output, std::size_t pixels,
                     const ResidualSteps& steps, const Parallel& parallel) {
  const EitherMap map{{a.changed}, {b.changed}};
  const std::size_t b_channels = output.channels - a_channels;
  const std::size_t buffer_bytes = a_table || b_table ? std::max(a_channels, b_channels) : 0;
  renew_active(map, output, pixels, buffer_bytes, parallel,
               [&](std::size_t first, std::size_t here, std::uint8_t* buffer) {
                 const auto renew_part = [&](const PixelCodes& part, std::size_t channel, std::size_t count,
                                             const std::uint8_t* table) {
                   const std::uint8_t* fresh =
                       looked_up(steps, part.codes + first * count, here * count, table, buffer);
                   output.renew_part(steps, first, here, fresh, channel, count, channel > 0);
                 };
                 renew_part(a, 0, a_channels, a_table);
                 renew_part(b, a_channels, b_channels, b_table);
               });
}

void residual_table(const PixelCodes& x, const std::uint8_t* table, const ResidualOutput& output, std::size_t pixels,
                    const ResidualSteps& steps, const Parallel& parallel) {
  const std::size_t channels = output.channels;
  renew_active(OneMap{x.changed}, output, pixels, table ? channels : 0, parallel,
               [&](std::size_t first, std::size_t here, std::uint8_t* buffer) {
                 output.renew(steps, first, here,
                              looked_up(steps, x.codes + first * channels, here * channels, table, buffer));
               });
}

}  // namespace edgeml
