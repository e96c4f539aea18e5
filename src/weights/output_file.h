#pragma once
// A file that is written under a temporary name and takes its own when it is complete, so that the path never holds half of it.

#include <cstddef>
#include <string>

#include "base/result.h"

namespace sluice {

/// Removed again unless it was committed. Errors name the path that was asked for: nobody knows the temporary one.
class OutputFile {
 public:
  /// `called`: what errors call it, where that is not the path.
  explicit OutputFile(std::string path, std::string called = {});
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  /// A path that exists has to be a regular file.
  Status open();
  Status write(const void* data, size_t bytes);
  /// Zeros up to a multiple of `alignment`, which is at most a native pack's.
  Status pad(size_t alignment);
  /// Overwrites the first bytes of what was written.
  Status rewrite_start(const std::string& bytes);
  Status commit();
  size_t written() const { return written_; }

 private:
  Status refused(const char* what) const;

  std::string path_, temporary_, called_;
  int fd_ = -1;
  bool committed_ = false;
  size_t written_ = 0;
};

/// A directory that is filled under a temporary name and takes its own when it is complete.
class OutputDirectory {
 public:
  explicit OutputDirectory(std::string path);
  ~OutputDirectory();
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;

  /// A path that exists has to be an empty directory.
  Status open();
  /// Where a file of it stands until then; of a name with a folder ("1_Pooling/config.json") the folder is made.
  Result<std::string> file(const std::string& name) const;
  Status commit();

 private:
  std::string path_, temporary_;
  bool opened_ = false, committed_ = false;
};

}  // namespace sluice
