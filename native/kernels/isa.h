// Which vector instructions a kernel uses, chosen when the program runs.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace edgeml {

enum class Isa { scalar, neon, avx2, avx512_vpopcntdq };

// "scalar", "neon", "avx2" or "avx512-vpopcntdq".
std::string_view name_of(Isa isa);

// The inverse of name_of; nothing for any other name.
std::optional<Isa> isa_named(std::string_view name);

// What this build holds and this processor runs, slowest first; always begins with Isa::scalar.
std::vector<Isa> available_isas();

// The last of available_isas(), unless the environment variable EDGEML_KERNEL names another one that is available.
Isa chosen_isa();

}  // namespace edgeml
