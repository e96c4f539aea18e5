#include "apps/text_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace sluice {

Status write_text_file(const std::string& path, const std::string& text) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  bool done = file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  int reason = errno;
  if (file != nullptr && std::fclose(file) != 0 && done)
    done = false, reason = errno;  // what was buffered may fail only now
  if (done) return {};
  return io_error(fmt::format("cannot write {}: {}", path, std::strerror(reason)));
}

Status replace_text_file(const std::string& path, const std::string& text) {
  std::string temporary = path + ".XXXXXX";  // another process may replace the same file
  const auto failed = [&] { return io_error(fmt::format("cannot write {}: {}", path, std::strerror(errno))); };
  const int fd = ::mkstemp(temporary.data());
  if (fd < 0) return failed();
  ::fchmod(fd, 0644);
  std::FILE* file = ::fdopen(fd, "w");
  bool done = file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (file == nullptr)
    ::close(fd);
  else
    done = std::fclose(file) == 0 && done;
  if (done && std::rename(temporary.c_str(), path.c_str()) == 0) return {};
  const Status status = failed();
  std::remove(temporary.c_str());
  return status;
}

}  // namespace sluice
