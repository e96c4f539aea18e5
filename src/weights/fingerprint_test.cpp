#include "weights/fingerprint.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

namespace sluice {
namespace {

TEST(Fingerprint, AnyByteOfAnyTensorCounts) {
  const std::string path = ::testing::TempDir() + "sluice_fingerprint.gguf";
  std::filesystem::copy_file(SLUICE_SOURCE_DIR "/models/stories260K.gguf", path, std::filesystem::copy_options::overwrite_existing);
  const auto of = [&path] {
    const auto source = open_tensor_source(path);
    EXPECT_TRUE(source.ok()) << source.error().message;
    const auto hash = model_fingerprint(**source);
    EXPECT_TRUE(hash.ok()) << hash.error().message;
    return *hash;
  };
  const uint64_t before = of();
  EXPECT_EQ(of(), before);
  size_t at = 0;
  {
    const auto source = open_tensor_source(path);
    const TensorInfo& last = (*source)->tensors().back();
    at = last.offset_bytes + last.size_bytes * 2 / 3;
  }
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const char old = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(old ^ 1));
  }
  EXPECT_NE(of(), before);
  std::remove(path.c_str());
}

}  // namespace
}  // namespace sluice
