#pragma once
// A file mapped read-only. The bytes stay valid as long as the object lives.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace sluice {

class MappedFile {
 public:
  static Result<std::shared_ptr<MappedFile>> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const uint8_t> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }
  /// Tells the kernel that these bytes will not be read again soon: they leave our resident set, not the page cache.
  void release(size_t offset, size_t length) const;
  /// Touches these bytes, so that the caller meets their page faults now, and nobody later.
  void map_ahead(size_t offset, size_t length) const;

 private:
  MappedFile() = default;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  std::string path_;
};

/// The whole file as a string; for small text files (configuration, templates, vocabularies). Fails above `limit_bytes`.
Result<std::string> read_file(const std::string& path, size_t limit_bytes = size_t{256} << 20);
bool file_exists(const std::string& path);
bool is_directory(const std::string& path);

}  // namespace sluice
