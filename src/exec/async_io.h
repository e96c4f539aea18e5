#pragma once
// Reads and writes of one file that go on beside the computation.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"

namespace sluice {

/// Direct I/O wants addresses, sizes and offsets that are multiples of this.
inline constexpr size_t kIoPage = 4096;

struct IoRequest {
  bool writes = false;
  uint8_t* bytes = nullptr;
  size_t size = 0;
  uint64_t at = 0;   // in the file
  uint64_t tag = 0;  // to know it by when it has ended
};

struct IoDone {
  uint64_t tag = 0;
  int error = 0;  // of errno; 0: all bytes have been moved
};

/// Requests end in any order, and are to touch different bytes. For one thread.
class AsyncIo {
 public:
  virtual ~AsyncIo() = default;
  /// Memory in which the bytes of requests will lie. Before the first one; it is held in place where the kernel allows
  /// that (RLIMIT_MEMLOCK), so that not every request has to look it up page by page.
  virtual void hold(std::span<const std::span<uint8_t>> /*memory*/) {}
  virtual void start(const IoRequest& request) = 0;
  /// The same of several, which the system is told of once.
  virtual void start_all(std::span<const IoRequest> requests) {
    for (const IoRequest& r : requests) start(r);
  }
  /// One that has ended, if there is any.
  virtual std::optional<IoDone> poll() = 0;
  /// One that has ended; something must have been started.
  virtual IoDone wait() = 0;
  /// Whether start() returns before the bytes are moved.
  virtual bool asynchronous() const = 0;
};

/// By io_uring; where the kernel refuses that, start() moves the bytes itself. Takes `fd` over. Of more than
/// `in_flight` requests at once start() waits for one to end.
std::unique_ptr<AsyncIo> open_async_io(int fd, unsigned in_flight);

/// A file without a name in a folder, its space reserved, with direct I/O where the file system has it. Errors:
/// resource_exhausted where the disk has no room; io.
Result<int> open_nameless_file(const std::string& folder, size_t bytes);

}  // namespace sluice
