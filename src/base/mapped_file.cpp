#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace sluice {

Result<std::shared_ptr<MappedFile>> MappedFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    const std::string message = fmt::format("cannot open {}: {}", path, std::strerror(errno));
    return errno == ENOENT ? not_found(message) : io_error(message);
  }
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return invalid_argument(fmt::format("{} is not a regular file", path));
  }
  auto file = std::shared_ptr<MappedFile>(new MappedFile);
  file->path_ = path;
  file->size_ = static_cast<size_t>(info.st_size);
  if (file->size_ > 0) {
    void* at = ::mmap(nullptr, file->size_, PROT_READ, MAP_PRIVATE, fd, 0);
    if (at == MAP_FAILED) {
      const std::string reason = std::strerror(errno);
      ::close(fd);
      return io_error(fmt::format("cannot map {} ({} bytes): {}", path, file->size_, reason));
    }
    file->data_ = static_cast<const uint8_t*>(at);
  }
  ::close(fd);
  return file;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<uint8_t*>(data_), size_);
}

void MappedFile::release(size_t offset, size_t length) const {
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t begin = (offset + page - 1) / page * page;
  const size_t end = (offset + length) / page * page;
  if (end > begin) ::madvise(const_cast<uint8_t*>(data_) + begin, end - begin, MADV_DONTNEED);
}

void MappedFile::map_ahead(size_t offset, size_t length) const {
  // A fault maps the 64 KiB around it, as far as they are cached. MADV_POPULATE_READ is faster still, but holds the lock
  // that every brk() and mmap() of the other threads waits for: loading a tokenizer meanwhile took twice as long.
  constexpr size_t kFaultAround = size_t{64} << 10;
  uint8_t sum = 0;
  for (size_t at = offset; at < offset + length; at += kFaultAround)
    sum = static_cast<uint8_t>(sum + static_cast<const volatile uint8_t*>(data_)[at]);
  (void)sum;
}

Result<std::string> read_file(const std::string& path, size_t limit_bytes) {
  SLUICE_TRY(auto file, MappedFile::open(path));
  if (file->bytes().size() > limit_bytes)
    return invalid_argument(
        fmt::format("{} has {} bytes, more than the {} allowed here", path, file->bytes().size(), limit_bytes));
  return std::string(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
}

bool file_exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

bool is_directory(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

}  // namespace sluice
