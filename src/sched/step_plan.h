#pragma once
// What one step computes, and what came of it. The contract is docs/contracts/step.md.

#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "kv/block_table.h"
#include "kv/kv_copy.h"
#include "sched/request.h"

namespace sluice {

/// Rows that a step computes for a sequence without bringing it further (docs/adr/0015-modular-kv.md).
enum class Detour : uint8_t {
  none,
  encode,  // of a segment for the store, in a table of its own
  probe,   // how far the KV that was reused is off: the rows end in the second layer, and nothing of that is written
  repair,  // in place of KV that was reused
};

/// Positions [first_pos, first_pos + n_tokens) of one sequence; of a detour, other rows of it. The spans stay valid until the step has settled.
struct PlanItem {
  SeqId seq = kNoSeq;
  int first_pos = 0, n_tokens = 0;
  int dropped = 0;                      // tokens before these whose KV was let go: position p stands in slot p - dropped of the table
  std::span<const int32_t> positions;   // by which these are rotated, n_tokens of them; empty: first_pos and on
  Detour detour = Detour::none;
  std::span<const int32_t> rows, slots; // of a detour, n_tokens of each: indices of tokens, and where in the table they stand, ascending
  bool samples = false;                 // the last of these positions yields a new token
  int n_scored = 0;                     // the first so many yield the logprob of the prompt token after them
  std::span<const TokenId> tokens;      // the sequence's tokens [0, first_pos + n_tokens)
  std::span<const BlockId> blocks;      // its block table, covering these positions; what lies beyond them is for steps to come
  std::span<const BlockId> pages;       // of these blocks, where layers have their KV in such (kv/recent_pages.h); valid for those that its rows read
  int prompt_tokens = 0;
  int sample = 0;
  const Request* request = nullptr;
};

struct StepPlan {
  std::vector<BlockId> freed;  // blocks that nobody has held for a time since the plan before; first of all
  std::vector<KvCopy> copies;  // as if done before the items, in order
  std::vector<KvEviction> evictions;  // as if done after these and before the items
  std::vector<SeqId> ended;    // sequences that have ended or given up their KV since the last plan
  std::vector<PlanItem> items;

  int tokens() const { int n = 0; for (const PlanItem& item : items) n += item.n_tokens; return n; }
  bool empty() const { return items.empty() && copies.empty(); }
};

/// One entry per item of the plan, in its order. It samples where the item does, unless there is an error: then this
/// sequence cannot go on, and the others do.
struct ItemResult {
  SeqId seq = kNoSeq;
  bool sampled = false;
  SampledToken token;
  std::string error = {};
  bool kv_lost = false;  // the error is that blocks of it cannot be read any more: nobody is to find them again
  std::vector<SampledToken> prompt =
      {};  // prompt tokens [first_pos + 1, first_pos + 1 + n_scored), unless there is an error
  std::vector<float> deviation = {};  // of a probe: by row
};

/// Of KV that is offloaded layer by layer.
struct OffloadTraffic {
  uint64_t read_bytes = 0, written_bytes = 0;
  Nanos stall_ns = 0;  // steps waited for it
};

struct StepResult {
  std::vector<ItemResult> items;
  Nanos load_ns = 0;           // waiting for blocks that other tiers had
  Nanos load_span_ns = 0;      // from asking for them until the last one of those on disk was there: beyond load_ns, something was computed meanwhile
  std::vector<uint64_t> lost;  // keys of blocks that could not be kept or read back; an item that starts from one is void
  OffloadTraffic offload;      // of all steps so far
};

}  // namespace sluice
