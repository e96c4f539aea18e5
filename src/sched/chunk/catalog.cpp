#include "sched/chunk/catalog.h"

#include "sched/chunk/decode_first.h"
#include "sched/chunk/prefill_first.h"
#include "sched/chunk/split_and_fuse.h"
#include "sched/chunk/stall_free.h"

namespace sluice {

std::span<const ChunkPolicyEntry> chunk_catalog() {
  using Policy = std::unique_ptr<ChunkPolicy>;
  static constexpr ChunkPolicyEntry kEntries[] = {
      {.name = "stall-free",
       .help = "all decodes in every step, prefill beside them capped at one chunk",
       .make = [](const ChunkOptions& o) -> Policy {
         if (o.chunk_tokens > 0) return std::make_unique<StallFree>(o.chunk_tokens, o.chunk_tokens);
         if (o.tbt_target > 0 && o.step_time != nullptr)
           return std::make_unique<StallFree>(kLeastChunkTokens, o.token_budget, o.tbt_target, *o.step_time);
         return std::make_unique<StallFree>(kLeastChunkTokens, o.token_budget);
       },
       .reads_chunk_tokens = true,
       .reads_tbt_target = true},
      {.name = "split-and-fuse",
       .help = "decode first, prompts split and fused so that all steps have the same size",
       .make = [](const ChunkOptions& o) -> Policy {
         return std::make_unique<SplitAndFuse>(o.forward_tokens, o.token_budget, o.step_time);
       },
       .reads_forward_tokens = true},
      {.name = "prefill-first",
       .help = "prompts before decodes, which pause meanwhile",
       .make = [](const ChunkOptions&) -> Policy { return std::make_unique<PrefillFirst>(); }},
      {.name = "decode-first",
       .help = "decodes before prompts, which wait until none is left",
       .make = [](const ChunkOptions&) -> Policy { return std::make_unique<DecodeFirst>(); },
       .prompts_wait = true},
  };
  return kEntries;
}

}  // namespace sluice
