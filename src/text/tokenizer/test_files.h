#pragma once
// For the tests of this folder: a temporary model directory, and where test data is.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "base/mapped_file.h"

namespace sluice::test {

/// A directory under the system's temporary one, removed with the object.
class ModelDirectory {
 public:
  ModelDirectory() {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() / fmt::format("sluice-tok-{}-{}", ::getpid(), count++);
    std::filesystem::create_directories(path_);
  }
  ~ModelDirectory() { std::filesystem::remove_all(path_); }
  void write(const std::string& name, std::string_view content) const {
    std::ofstream(path_ / name, std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
  }
  /// The file appears here under `name`.
  void link(const std::string& from, const std::string& name) const {
    std::filesystem::create_symlink(std::filesystem::absolute(from), path_ / name);
  }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

inline std::string repository_data(const std::string& name) {
  return std::string(SLUICE_SOURCE_DIR) + "/tests/data/tokenizers/" + name;
}

/// The directory of data that may not be copied into the repository; empty where SLUICE_TEST_DATA is not set.
inline std::string external_data() {
  const char* path = std::getenv("SLUICE_TEST_DATA");
  return path == nullptr ? "" : path;
}

#define SLUICE_NEED_EXTERNAL_DATA() \
  if (sluice::test::external_data().empty()) GTEST_SKIP() << "SLUICE_TEST_DATA is not set: no large vocabularies"

}  // namespace sluice::test
