#pragma once
// Reads safetensors (github.com/huggingface/safetensors, "Format"): one file, or shards named by an index.

#include <memory>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "weights/tensor_source.h"

namespace sluice {

/// The tensors of one file; offsets count from its start. As the format asks, they must fill the data section without
/// holes or overlaps. Errors name the file and the tensor or byte.
Result<std::vector<TensorInfo>> read_safetensors_header(const MappedFile& file);

/// `path` is a directory with config.json and model.safetensors[.index.json], or a .safetensors file or index in it.
Result<std::shared_ptr<TensorSource>> open_safetensors(const std::string& path);

}  // namespace sluice
