#include "exec/async_io.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"

namespace sluice {
namespace {

int error_of(int64_t result, size_t size) {
  if (result < 0) return static_cast<int>(-result);
  return static_cast<size_t>(result) == size ? 0 : EIO;  // a file that has become shorter
}

class PlainIo final : public AsyncIo {
 public:
  explicit PlainIo(int fd) : fd_(fd) {}
  ~PlainIo() override { ::close(fd_); }
  void start(const IoRequest& r) override {
    const auto at = static_cast<off_t>(r.at);
    ssize_t n;
    do n = r.writes ? ::pwrite(fd_, r.bytes, r.size, at) : ::pread(fd_, r.bytes, r.size, at);
    while (n < 0 && errno == EINTR);
    done_.push_back({r.tag, error_of(n < 0 ? -errno : n, r.size)});
  }
  std::optional<IoDone> poll() override { return done_.empty() ? std::nullopt : std::optional(wait()); }
  IoDone wait() override {
    CHECK(!done_.empty(), "nothing is in flight to wait for");
    const IoDone done = done_.front();
    done_.pop_front();
    return done;
  }
  bool asynchronous() const override { return false; }

 private:
  int fd_;
  std::deque<IoDone> done_;
};

class RingIo final : public AsyncIo {
 public:
  /// Takes over a ring that was made.
  RingIo(int fd, const io_uring& ring, unsigned in_flight) : fd_(fd), ring_(ring), requests_(in_flight) {
    // What the page cache serves would be copied by the thread that asks: a worker of the kernel does that instead.
    buffered_ = (::fcntl(fd, F_GETFL) & O_DIRECT) == 0;
    for (unsigned i = in_flight; i-- > 0;) free_.push_back(i);
  }
  ~RingIo() override {
    while (free_.size() < requests_.size()) reap_one();
    io_uring_queue_exit(&ring_);
    ::close(fd_);
  }

  void hold(std::span<const std::span<uint8_t>> memory) override {
    constexpr size_t kMost = size_t{1} << 30;  // of one range
    std::vector<iovec> ranges;
    for (const std::span<uint8_t> m : memory)
      for (size_t at = 0; at < m.size(); at += kMost) ranges.push_back({m.data() + at, std::min(kMost, m.size() - at)});
    if (io_uring_register_buffers(&ring_, ranges.data(), static_cast<unsigned>(ranges.size())) == 0) held_ = std::move(ranges);
  }
  void start(const IoRequest& r) override { start_all({&r, 1}); }
  void start_all(std::span<const IoRequest> requests) override {
    unsigned told = 0;
    for (const IoRequest& r : requests) {
      if (free_.empty()) submit(std::exchange(told, 0));
      while (free_.empty()) reap_one();
      prepare(r);
      ++told;
    }
    submit(told);
  }
  std::optional<IoDone> poll() override {
    if (done_.empty()) reap_if_any();
    return done_.empty() ? std::nullopt : std::optional(take());
  }
  IoDone wait() override {
    if (done_.empty()) reap_one();
    return take();
  }
  bool asynchronous() const override { return true; }

 private:
  void prepare(const IoRequest& r) {
    const unsigned index = free_.back();
    free_.pop_back();
    requests_[index] = r;
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    CHECK(sqe != nullptr, "more requests than the queue holds");
    const auto size = static_cast<unsigned>(r.size);
    if (const int held = find_held(r); held >= 0)
      (r.writes ? io_uring_prep_write_fixed(sqe, fd_, r.bytes, size, r.at, held) : io_uring_prep_read_fixed(sqe, fd_, r.bytes, size, r.at, held));
    else if (r.writes) io_uring_prep_write(sqe, fd_, r.bytes, size, r.at);
    else io_uring_prep_read(sqe, fd_, r.bytes, size, r.at);
    if (buffered_) io_uring_sqe_set_flags(sqe, IOSQE_ASYNC);
    io_uring_sqe_set_data64(sqe, index);
  }
  void submit(unsigned n) {
    while (n > 0) {
      const int submitted = io_uring_submit(&ring_);
      if (submitted > 0) {
        n -= std::min(n, static_cast<unsigned>(submitted));
        continue;
      }
      // The kernel may be short of memory for a moment; what has ended makes room.
      CHECK(submitted == -EAGAIN || submitted == -EBUSY || submitted == -EINTR || submitted == 0,
            "io_uring takes no requests any more: {}", std::strerror(-submitted));
      while (reap_if_any()) {
      }
      std::this_thread::yield();
    }
  }
  int find_held(const IoRequest& r) const {
    for (size_t i = 0; i < held_.size(); ++i)
      if (const auto* base = static_cast<const uint8_t*>(held_[i].iov_base); r.bytes >= base && r.bytes + r.size <= base + held_[i].iov_len)
        return static_cast<int>(i);
    return -1;
  }
  IoDone take() {
    const IoDone done = done_.front();
    done_.pop_front();
    return done;
  }
  bool reap_if_any() {
    io_uring_cqe* cqe = nullptr;
    if (io_uring_peek_cqe(&ring_, &cqe) != 0 || cqe == nullptr) return false;
    finish(cqe);
    return true;
  }
  void reap_one() {
    CHECK(free_.size() < requests_.size(), "nothing is in flight to wait for");
    io_uring_cqe* cqe = nullptr;
    int status;
    while ((status = io_uring_wait_cqe(&ring_, &cqe)) == -EINTR || status == -EAGAIN) {
    }
    CHECK(status == 0, "io_uring gives no results any more: {}", std::strerror(-status));
    finish(cqe);
  }
  void finish(io_uring_cqe* cqe) {
    const auto index = static_cast<unsigned>(io_uring_cqe_get_data64(cqe));
    const int64_t result = cqe->res;
    io_uring_cqe_seen(&ring_, cqe);
    done_.push_back({requests_[index].tag, error_of(result, requests_[index].size)});
    free_.push_back(index);
  }

  int fd_;
  io_uring ring_;
  bool buffered_ = false;
  std::vector<IoRequest> requests_;
  std::vector<unsigned> free_;
  std::vector<iovec> held_;
  std::deque<IoDone> done_;
};

Error file_error(const std::string& folder, const char* what, int error) {
  return io_error(fmt::format("{}: {}: {}", folder, what, std::strerror(error)));
}

}  // namespace

std::unique_ptr<AsyncIo> open_async_io(int fd, unsigned in_flight) {
  io_uring ring;
  if (io_uring_queue_init(in_flight, &ring, 0) == 0) return std::make_unique<RingIo>(fd, ring, in_flight);
  return std::make_unique<PlainIo>(fd);
}

Result<int> open_nameless_file(const std::string& folder, size_t bytes) {
  constexpr int kFlags = O_RDWR | O_CLOEXEC;
  int fd = ::open(folder.c_str(), kFlags | O_TMPFILE, 0600);
  if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
    std::string name = folder + "/sluice-kv-XXXXXX";
    fd = ::mkostemp(name.data(), O_CLOEXEC);
    if (fd >= 0) ::unlink(name.c_str());
  }
  if (fd < 0) return file_error(folder, "no file can be made in this folder", errno);
  struct statvfs disk {};
  const bool known = ::fstatvfs(fd, &disk) == 0;
  const uint64_t room = uint64_t{disk.f_bavail} * disk.f_frsize;
  const int failed = known && room < bytes ? ENOSPC : ::posix_fallocate(fd, 0, static_cast<off_t>(bytes));
  if (failed == 0) {
    const int direct = ::open(fmt::format("/proc/self/fd/{}", fd).c_str(), kFlags | O_DIRECT);
    if (direct < 0) return fd;
    ::close(fd);
    return direct;
  }
  ::close(fd);
  if (failed != ENOSPC && failed != EFBIG) return file_error(folder, "no space can be reserved", failed);
  return resource_exhausted(fmt::format("{}: there is no room for {} bytes on this disk, {} are free", folder, bytes, room));
}

}  // namespace sluice
