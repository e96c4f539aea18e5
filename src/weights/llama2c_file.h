#pragma once
// llama2.c's .bin files: the header of each version, and values as they follow it.

#include <cstdint>
#include <memory>

#include "base/mapped_file.h"
#include "base/result.h"
#include "weights/gguf_model_keys.h"

namespace sluice {

struct Llama2cHeader {
  int version = 0;
  int64_t dim = 0, ffn = 0, layers = 0, heads = 0, kv_heads = 0, vocab = 0, context = 0;
  bool tied = true;
  int64_t group = 0;  // version 2: values that share a scale
  int64_t head_dim() const { return dim / heads; }
  int64_t kv_dim() const { return kv_heads * head_dim(); }
};

/// Checked; `data_at` is where the values begin.
Result<Llama2cHeader> read_llama2c_header(const MappedFile& file, size_t& data_at);

GgufHyperparameters gguf_hyperparameters(const Llama2cHeader& header, const std::string& arch, const std::string& name);

/// Where one tensor's values stand: float32, or int8 followed by one float32 scale per group.
struct Llama2cValues {
  const uint8_t* at = nullptr;
  const uint8_t* scales = nullptr;  // null: float32
  int64_t group = 0;
  void read(int64_t first, int64_t count, float* out) const;
};

/// Takes tensor after tensor; an error says which the file ends in.
class Llama2cReader {
 public:
  Llama2cReader(const MappedFile& file, size_t at) : file_(file), at_(at) {}
  Result<Llama2cValues> floats(int64_t count, const char* what);
  Result<Llama2cValues> groups(int64_t count, int64_t group, const char* what);
  /// `count` values of so many bytes.
  Result<const uint8_t*> take(int64_t count, size_t width, const char* what);
  Status expect_end() const;

 private:
  const MappedFile& file_;
  size_t at_;
};

}  // namespace sluice
