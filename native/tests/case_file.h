// What programs that play recorded cases share: reading them, and running tasks in an unusual order.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "../kernels/parallel.h"

namespace edgeml {

// The bytes of a file of cases, taken from its start to its end.
class CaseFile {
 public:
  // Reads the file and checks that it begins with `magic`.
  CaseFile(const char* path, std::string_view magic) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(std::string("cannot read ") + path);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    if (std::string_view(take(magic.size()), magic.size()) != magic) {
      throw std::runtime_error(std::string(path) + " is no file of cases");
    }
  }

  const char* take(std::size_t size) {
    if (size > bytes_.size() - position_) throw std::runtime_error("the file of cases ends too early");
    const char* start = bytes_.data() + position_;
    position_ += size;
    return start;
  }

  template <typename Value>
  std::vector<Value> values(std::size_t count) {
    std::vector<Value> found(count);
    if (count > 0) std::memcpy(found.data(), take(count * sizeof(Value)), count * sizeof(Value));
    return found;
  }

  bool at_end() const { return position_ == bytes_.size(); }

 private:
  std::string bytes_;
  std::size_t position_ = 0;
};

// Claims several threads and runs the tasks last to first: a kernel whose tasks are independent does not mind.
class Backwards final : public Parallel {
 public:
  void run(std::size_t tasks, void (*task)(void* context, std::size_t i), void* context) const override {
    for (std::size_t i = tasks; i-- > 0;) task(context, i);
  }
  std::size_t threads() const override { return 3; }
};

}  // namespace edgeml
