#pragma once
// Writes a Hugging Face directory: tensors as safetensors (github.com/huggingface/safetensors, "Format"), in one file or in shards
// under an index, beside config.json and whatever else belongs to the model.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "weights/gguf_writer.h"

namespace sluice {

struct HuggingfacePlan {
  std::map<std::string, std::string> files;  // by name: "config.json"
  std::vector<GgufTensor> tensors;           // of F32, F16 and BF16; in this order in the shards
};

/// What the hub's writers put into one file at most.
inline constexpr uint64_t kDefaultShardBytes = 5'000'000'000;

/// Writes beside `directory` and renames when complete, so that it never holds half a model; a `directory` that exists must be
/// empty. A tensor larger than a shard has one of its own. Returns the bytes of the tensors.
Result<size_t> write_huggingface(const std::string& directory, const HuggingfacePlan& plan, uint64_t shard_bytes, ThreadPool& pool,
                                 const GgufProgress& progress = {});

}  // namespace sluice
