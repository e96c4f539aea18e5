#include "sched/chunk/catalog.h"

#include "sched/chunk/prefill_first.h"
#include "sched/chunk/split_and_fuse.h"
#include "sched/chunk/stall_free.h"

namespace sluice {
std::span<const ChunkPolicyEntry> chunk_catalog() {
  static constexpr ChunkPolicyEntry kEntries[] = {
      {"stall-free", "all decodes in every step, prefill beside them capped at one chunk", true,
       [](const ChunkOptions& o) -> std::unique_ptr<ChunkPolicy> {
         if (o.chunk_tokens > 0) return std::make_unique<StallFree>(o.chunk_tokens, o.chunk_tokens);
         return std::make_unique<StallFree>(kLeastChunkTokens, o.token_budget);
       }},
      {"split-and-fuse", "decode first, prompts split and fused to fill the token budget exactly", false,
       [](const ChunkOptions&) -> std::unique_ptr<ChunkPolicy> { return std::make_unique<SplitAndFuse>(); }},
      {"prefill-first", "prompts before decodes, which pause meanwhile", false,
       [](const ChunkOptions&) -> std::unique_ptr<ChunkPolicy> { return std::make_unique<PrefillFirst>(); }},
  };
  return kEntries;
}

}  // namespace sluice
