// Arrays that begin at a cache line, so that no vector read from them lies across two. New elements are not zeroed.
#pragma once

#include <cstddef>
#include <new>
#include <utility>
#include <vector>

namespace edgeml {

template <class T>
struct CacheLineAllocator {
  using value_type = T;
  static constexpr std::align_val_t alignment{64};

  CacheLineAllocator() = default;
  template <class U>
  CacheLineAllocator(const CacheLineAllocator<U>&) {}

  T* allocate(std::size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), alignment)); }
  void deallocate(T* values, std::size_t) { ::operator delete(values, alignment); }

  // Values that are given none stay as they are: what is overwritten at once need not be zeroed.
  template <class U>
  void construct(U* value) {
    ::new (static_cast<void*>(value)) U;
  }
  template <class U, class... Arguments>
  void construct(U* value, Arguments&&... arguments) {
    ::new (static_cast<void*>(value)) U(std::forward<Arguments>(arguments)...);
  }

  template <class U>
  bool operator==(const CacheLineAllocator<U>&) const {
    return true;
  }
  template <class U>
  bool operator!=(const CacheLineAllocator<U>&) const {
    return false;
  }
};

template <class T>
using AlignedVector = std::vector<T, CacheLineAllocator<T>>;

}  // namespace edgeml
