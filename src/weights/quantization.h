#pragma once
// Checkpoints that other tools quantized (docs/adr/0019): which tensors together are a matrix, and how its rows are put
// into a type of ours without loss. One file per method; quantized_source.h makes a TensorSource of what they find.

#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "weights/tensor_source.h"

namespace sluice {

/// A matrix [n, k], or several [experts, n, k].
struct RepackedTensor {
  std::string name;  // as in the model's own files: "model.layers.0.self_attn.q_proj.weight"
  DType dtype;
  Shape shape;
  size_t file_index;                                       // of its largest part
  std::function<void(int64_t row, uint8_t* blocks)> fill;  // one row of k values; several threads call it at once
  std::vector<int32_t> order;  // empty, or [k]: column j of the rows is column order[j] of the matrix
};

/// What a method made of a file's tensors.
struct Repacking {
  std::vector<RepackedTensor> tensors;
  std::set<std::string, std::less<>> parts;  // names of tensors that went into those, or say nothing that we use
};

/// config.json's "quantization_config" (or what older files have in its place), whose keys are read without that
/// prefix.
class QuantizationConfig {
 public:
  explicit QuantizationConfig(const Metadata& metadata) : metadata_(metadata) {}
  /// Whether the model says that it is quantized.
  bool present() const { return !prefix().empty(); }
  std::string_view prefix() const;  // "quantization_config." or "compression_config."
  const Metadata& metadata() const { return metadata_; }

  bool has(std::string_view key) const { return metadata_.has(full(key)); }
  std::string string_or(std::string_view key, std::string_view otherwise) const {
    return metadata_.string_or(full(key), otherwise);
  }
  int64_t integer_or(std::string_view key, int64_t otherwise) const {
    return metadata_.integer_or(full(key), otherwise);
  }
  bool boolean_or(std::string_view key, bool otherwise) const { return metadata_.boolean_or(full(key), otherwise); }
  Result<int64_t> integer(std::string_view key) const { return metadata_.integer(full(key)); }
  const std::vector<int64_t>* integers(std::string_view key) const { return metadata_.integers(full(key)); }

  /// unsupported: "FILE: quantization_config.KEY is VALUE; WHAT".
  Error refused(std::string_view key, std::string_view value, std::string_view what) const;
  /// The key must have one of these values, or be absent.
  Status only(std::string_view key, std::span<const std::string_view> values) const;

 private:
  std::string full(std::string_view key) const { return std::string(prefix()) + std::string(key); }
  const Metadata& metadata_;
};

/// The methods, which find their tensors in `source`. Errors name the key, or the tensor.
using RepackFn = Status(const QuantizationConfig& config, const TensorSource& source, Repacking& out);
RepackFn repack_gptq, repack_awq, repack_compressed_tensors, repack_bitsandbytes, repack_float8, repack_mxfp4, repack_bitnet;

}  // namespace sluice
