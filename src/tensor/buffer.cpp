#include "tensor/buffer.h"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "tensor/tensor_view.h"

namespace sluice {

Result<Buffer> Buffer::allocate(size_t bytes) {
  Buffer buffer;
  if (bytes == 0) return buffer;
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED)
    return resource_exhausted(fmt::format("cannot allocate {} bytes: {}", bytes, std::strerror(errno)));
  if (bytes >= size_t{4} << 20) ::madvise(at, bytes, MADV_HUGEPAGE);
  buffer.data_ = static_cast<uint8_t*>(at);
  buffer.bytes_ = bytes;
  return buffer;
}

bool Buffer::interleave(std::span<const int> nodes) {
  constexpr unsigned long kNodes = 1024, kBits = 8 * sizeof(unsigned long);
  unsigned long mask[kNodes / kBits] = {};
  for (const int n : nodes)
    if (n >= 0 && static_cast<unsigned long>(n) < kNodes)
      mask[static_cast<unsigned long>(n) / kBits] |= 1ul << static_cast<unsigned long>(n) % kBits;
  return data_ != nullptr && ::syscall(SYS_mbind, data_, bytes_, MPOL_INTERLEAVE, mask, kNodes, 0) == 0;
}

Buffer::~Buffer() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

std::string Shape::text() const {
  std::string s = "[";
  for (int i = 0; i < rank; ++i) s += (i > 0 ? ", " : "") + std::to_string(dims[i]);
  return s + "]";
}

}  // namespace sluice
