#include "weights/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "weights/native_pack.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

std::string temporary_name(const std::string& path) { return path + ".part" + std::to_string(::getpid()); }

}  // namespace

OutputFile::OutputFile(std::string path, std::string called)
    : path_(std::move(path)), temporary_(temporary_name(path_)), called_(called.empty() ? path_ : std::move(called)) {}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
  if (fd_ >= 0 && !committed_) ::unlink(temporary_.c_str());
}

Status OutputFile::open() {
  // A rename would put the file in the place of a device, a socket or a directory.
  struct stat at {};
  if (::stat(path_.c_str(), &at) == 0 && !S_ISREG(at.st_mode))
    return invalid_argument(fmt::format("{} exists and is no regular file; a model cannot be written there", path_));
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  return fd_ >= 0 ? Status() : refused("create");
}

Status OutputFile::write(const void* data, size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::write(fd_, at, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return refused("write");
    at += n;
    bytes -= static_cast<size_t>(n);
    written_ += static_cast<size_t>(n);
  }
  return {};
}

Status OutputFile::pad(size_t alignment) {
  static constexpr char kZeros[kPackAlignment] = {};
  return write(kZeros, (written_ + alignment - 1) / alignment * alignment - written_);
}

Status OutputFile::rewrite_start(const std::string& bytes) {
  if (::lseek(fd_, 0, SEEK_SET) != 0) return refused("seek");
  const size_t size = written_;
  const Status status = write(bytes.data(), bytes.size());
  written_ = size;
  return status;
}

Status OutputFile::commit() {
  if (::fsync(fd_) != 0) return refused("sync");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return refused("give its name to");
  committed_ = true;
  return {};
}

Status OutputFile::refused(const char* what) const {
  const int reason = errno;
  const std::string after = written_ > 0 ? fmt::format(" after {} bytes", written_) : "";
  return io_error(fmt::format("cannot {} {}{}: {}", what, called_, after, std::strerror(reason)));
}

OutputDirectory::OutputDirectory(std::string path) : path_(std::move(path)) {
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  temporary_ = temporary_name(path_);
}

OutputDirectory::~OutputDirectory() {
  std::error_code ignored;
  if (opened_ && !committed_) fs::remove_all(temporary_, ignored);
}

Status OutputDirectory::open() {
  std::error_code none;
  if (fs::exists(path_, none) && !(fs::is_directory(path_, none) && fs::is_empty(path_, none)))
    return invalid_argument(fmt::format("{} exists and is no empty directory; a model's directory cannot be written there", path_));
  std::error_code error;
  fs::create_directory(temporary_, error);
  if (error) return io_error(fmt::format("cannot create {}: {}", path_, error.message()));
  opened_ = true;
  return {};
}

Result<std::string> OutputDirectory::file(const std::string& name) const {
  const fs::path path = fs::path(temporary_) / name;
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) return io_error(fmt::format("cannot create {}/{}: {}", path_, fs::path(name).parent_path().string(), error.message()));
  return path.string();
}

Status OutputDirectory::commit() {
  if (::rename(temporary_.c_str(), path_.c_str()) != 0)
    return io_error(fmt::format("cannot give its name to {}: {}", path_, std::strerror(errno)));
  committed_ = true;
  return {};
}

}  // namespace sluice
