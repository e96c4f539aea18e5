#include "apps/text_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
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
  const std::string temporary = fmt::format("{}.{}", path, ::getpid());
  Status done = write_text_file(temporary, text);
  if (done.ok() && std::rename(temporary.c_str(), path.c_str()) != 0)
    done = io_error(fmt::format("cannot write {}: {}", path, std::strerror(errno)));
  if (!done.ok()) std::remove(temporary.c_str());
  return done;
}

}  // namespace sluice
