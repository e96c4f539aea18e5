#pragma once
#include <memory>
#include <span>
#include <string_view>

#include "sched/policies.h"

namespace sluice {

// Where none is asked for: as many prefill tokens as decodes, and at least these. Beside 16 decodes on two cores 48 rows
// lengthen a step about twofold, whatever the prompt's length, and lose no throughput to 512, since the products are bound
// by arithmetic from some tens of rows on (docs/performance-log.md). Longer chunks give a long prompt its first token sooner and everybody else longer gaps..
inline constexpr int kLeastChunkTokens = 48;

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
