#pragma once
#include <memory>
#include <span>
#include <string_view>

#include "sched/policies.h"

namespace sluice {

struct ChunkOptions {
  int token_budget = 2048;  // --max-num-batched-tokens
  int chunk_tokens = 0;     // --chunked-prefill-size: most prefill tokens beside decodes in one step; 0: the policy's own
};

/// One line per technique; `--chunk-policy NAME`.
struct ChunkPolicyEntry {
  std::string_view name, help;
  bool reads_chunk_tokens;  // for the others --chunked-prefill-size is an error
  std::unique_ptr<ChunkPolicy> (*make)(const ChunkOptions& options);
};
std::span<const ChunkPolicyEntry> chunk_catalog();

}  // namespace sluice
