#include "api.h"

#include <new>

namespace edgeml {

std::string Api::take_message(OrtStatus* status) const {
  std::string message = call<const char*>(abi::kGetErrorMessage, static_cast<const OrtStatus*>(status));
  call<void>(abi::kReleaseStatus, status);
  return message;
}

OrtStatus* Api::current_failure(const char* operator_name) const noexcept {
  // Nothing here may throw again, not even for want of memory: then the message is one that needs none.
  try {
    const std::string prefix = std::string(operator_name) + ": ";
    try {
      throw;
    } catch (const std::invalid_argument& error) {
      return failure(abi::kInvalidArgument, prefix + error.what());
    } catch (const std::bad_alloc&) {
      return failure(abi::kRuntimeException, prefix + "Failed to allocate memory");
    } catch (const std::exception& error) {
      return failure(abi::kRuntimeException, prefix + error.what());
    } catch (...) {
      return failure(abi::kFail, prefix + "an unknown error");
    }
  } catch (...) {
    return call<OrtStatus*>(abi::kCreateStatus, static_cast<int>(abi::kRuntimeException),
                            static_cast<const char*>("Failed to allocate memory"));
  }
}

}  // namespace edgeml
