// Work split into independent tasks; whoever calls a kernel decides which threads run them.
#pragma once

#include <cstddef>

namespace edgeml {

class Parallel {
 public:
  virtual ~Parallel() = default;

  // Calls task(context, i) once for each i in [0, tasks), in any order, on any threads; returns when all are done.
  virtual void run(std::size_t tasks, void (*task)(void* context, std::size_t i), void* context) const = 0;

  // How many tasks are worth having at once; at least 1.
  virtual std::size_t threads() const = 0;
};

// Runs everything on the calling thread.
class Serial final : public Parallel {
 public:
  void run(std::size_t tasks, void (*task)(void* context, std::size_t i), void* context) const override {
    for (std::size_t i = 0; i < tasks; ++i) task(context, i);
  }
  std::size_t threads() const override { return 1; }
};

}  // namespace edgeml
