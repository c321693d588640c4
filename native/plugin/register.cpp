// The library's doors: onnxruntime's registration, and what edgeml asks about the kernels.

#include <sched.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../kernels/isa.h"
#include "custom_op.h"
#include "operators.h"

#define EDGEML_EXPORT extern "C" __attribute__((visibility("default")))

namespace edgeml {
namespace {

constexpr const char* kDomain = "ai.edgeml";
// Session option: how many threads the session has for one operator, which onnxruntime tells no plugin.
constexpr const char* kThreadsOption = "ai.edgeml.threads";
constexpr std::size_t kMostThreads = 1024;

std::size_t available_threads() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  const bool known = sched_getaffinity(0, sizeof cores, &cores) == 0;
  return known && CPU_COUNT(&cores) > 0 ? static_cast<std::size_t>(CPU_COUNT(&cores)) : 1;
}

std::size_t threads_of(const Api& api, const OrtSessionOptions* options) {
  int given = 0;
  api.must(abi::kHasSessionConfigEntry, options, kThreadsOption, &given);
  if (given == 0) return available_threads();
  std::size_t size = 0;
  char* nowhere = nullptr;
  api.must(abi::kGetSessionConfigEntry, options, kThreadsOption, nowhere, &size);
  std::vector<char> text(size + 1);
  api.must(abi::kGetSessionConfigEntry, options, kThreadsOption, text.data(), &size);
  char* end = nullptr;
  const long threads = std::strtol(text.data(), &end, 10);
  if (end == text.data() || *end != '\0' || threads < 1 || threads > static_cast<long>(kMostThreads)) {
    throw InvalidModel(std::string("the session option ") + kThreadsOption + " is '" + text.data() +
                       "'; it takes a number from 1 to " + std::to_string(kMostThreads));
  }
  return static_cast<std::size_t>(threads);
}

// The domain for sessions of that many threads. Sessions refer to it as long as they live and nothing tells when the
// last one ends, so it is made once and kept.
OrtCustomOpDomain* domain_for(const Api& api, std::size_t threads) {
  static auto& mutex = *new std::mutex;
  static auto& domains = *new std::map<std::size_t, OrtCustomOpDomain*>;
  static auto& ops = *new std::vector<std::unique_ptr<CustomOp>>;
  const std::lock_guard<std::mutex> lock(mutex);
  if (const auto found = domains.find(threads); found != domains.end()) return found->second;
  OrtCustomOpDomain* domain = nullptr;
  api.must(abi::kCreateCustomOpDomain, kDomain, &domain);
  for (const Operator& description : operators()) {
    ops.push_back(std::make_unique<CustomOp>(description, threads));
    api.must(abi::kCustomOpDomainAdd, domain, static_cast<const OrtCustomOp*>(ops.back().get()));
  }
  domains.emplace(threads, domain);
  return domain;
}

}  // namespace
}  // namespace edgeml

EDGEML_EXPORT OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  using namespace edgeml;
  const OrtApi* table = base->get_api(abi::kApiVersion);
  if (table == nullptr) {
    const Api first(base->get_api(1));
    return first.failure(abi::kFail, std::string("edgeml's plugin needs onnxruntime 1.17 or newer; this is ") +
                                         base->get_version_string());
  }
  const Api api(table);
  return api.guarded("edgeml", [&] {
    api.must(abi::kAddCustomOpDomain, options, domain_for(api, threads_of(api, options)));
  });
}

// The instruction set whose kernels new sessions use.
EDGEML_EXPORT const char* edgeml_kernel() { return edgeml::name_of(edgeml::chosen_isa()).data(); }

// Those that this build holds and this processor runs, slowest first, with commas between them.
EDGEML_EXPORT const char* edgeml_kernels() {
  static const auto& names = *new std::string([] {
    std::string joined;
    for (const edgeml::Isa isa : edgeml::available_isas()) {
      joined += (joined.empty() ? "" : ",") + std::string(edgeml::name_of(isa));
    }
    return joined;
  }());
  return names.c_str();
}
