#pragma once
// Owned, zeroed memory, aligned to 64 bytes. Pages are touched when used, not when allocated; large buffers ask for huge pages.

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"

namespace sluice {

class Buffer {
 public:
  Buffer() = default;
  static Result<Buffer> allocate(size_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;

  /// Spreads the pages that are not touched yet over these nodes of memory in turn, so that all of them serve what every
  /// core reads. False, and nothing changes, where the kernel refuses.
  bool interleave(std::span<const int> nodes);

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  template <class T>
  T* as() { return reinterpret_cast<T*>(data_); }
  template <class T>
  const T* as() const { return reinterpret_cast<const T*>(data_); }

 private:
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace sluice
