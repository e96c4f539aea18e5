#pragma once
// Files that the tests of this folder make: a directory that goes away, and safetensors built by hand.

#include <fmt/core.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/rng.h"
#include "tensor/tensor_view.h"

namespace sluice {

class TempDir {
 public:
  TempDir() {
    // Memory where there is some: thousands of files are written and synced here.
    const std::filesystem::path memory = "/dev/shm";
    const auto root = std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
    std::string pattern = (root / "sluice_weights_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

inline void write_bytes(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::string read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::vector<float> random_values(uint64_t seed, int64_t count) {
  Rng rng(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (auto& value : values) value = static_cast<float>(rng.next_normal());
  return values;
}

/// A safetensors file with this JSON header and data.
inline std::string safetensors_bytes(const std::string& header, std::string_view data) {
  const uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  return bytes + header + std::string(data);
}

/// Collects float32 tensors (or float16, bfloat16 with `name`) into one safetensors file.
class SafetensorsBuilder {
 public:
  void add(const std::string& name, const Shape& shape, const std::vector<float>& values, DType dtype = DType::f32) {
    const size_t begin = data_.size();
    for (const float value : values) {
      if (dtype == DType::f32) append(value);
      else append(dtype == DType::f16 ? f32_to_f16(value) : f32_to_bf16(value));
    }
    header_ += fmt::format(R"({}"{}":{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", header_.empty() ? '{' : ',',
                           name, dtype_name(dtype), shape.text(), begin, data_.size());
  }
  /// The header is padded to 8 bytes, as the usual writers do.
  std::string bytes() const {
    std::string header = header_ + "}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    return safetensors_bytes(header, data_);
  }

 private:
  template <class T>
  void append(T value) { data_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  std::string header_, data_;
};

}  // namespace sluice
