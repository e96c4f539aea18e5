#pragma once
#include <memory>
#include <span>
#include <string_view>

#include "sched/step_time.h"

namespace sluice {

// Where none is asked for: as many prefill tokens as decodes, and at least these. Beside 16 decodes on two cores 48 rows
// lengthen a step about twofold, whatever the prompt's length, and lose no throughput to 512, since the products are bound
// by arithmetic from some tens of rows on (docs/performance-log.md). Longer chunks give a long prompt its first token sooner and everybody else longer gaps. With --tbt-target-ms it holds only until the
// step time is known.
inline constexpr int kLeastChunkTokens = 48;

struct ChunkOptions {
  int token_budget = 2048;  // --max-num-batched-tokens
  int chunk_tokens = 0;     // --chunked-prefill-size: most prefill tokens beside decodes in one step; 0: the policy's own
  Nanos tbt_target = 0;     // --tbt-target-ms: how long a step with decodes may take; 0: no target
  int forward_tokens = 0;   // --forward-tokens: the size of all steps; 0: the policy's own
  const StepTimeEstimate* step_time = nullptr;  // outlives the policy; null: none
};

/// One line per technique; `--chunk-policy NAME`.
struct ChunkPolicyEntry {
  std::string_view name, help;
  std::unique_ptr<ChunkPolicy> (*make)(const ChunkOptions& options);
  // For the policies that do not read them these flags are an error.
  bool reads_chunk_tokens = false, reads_tbt_target = false, reads_forward_tokens = false;
  bool prompts_wait = false;  // for all decodes to end, whether there is room or not
};
std::span<const ChunkPolicyEntry> chunk_catalog();

}  // namespace sluice
