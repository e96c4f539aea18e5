#pragma once
// What a model keeps per token: groups of layers that share one kind of KV. Metadata only.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sluice {

struct KvGroup {
  enum class Kind : uint8_t {
    full,    // keys and values of every token
    window,  // the same, of which rows read the last window_tokens only
    latent,  // one row a token, whose first values are the values too (multi-head latent attention)
    state,   // a state of fixed size, of which each block holds what it was at the block's last computed token (docs/adr/0017)
  };
  Kind kind = Kind::full;
  int first_layer = 0, layers = 0;
  int kv_heads = 0, head_dim = 0;  // of all but state groups
  int window_tokens = 0;           // of window groups
  size_t state_bytes = 0;          // of state groups: of one layer

  /// How many tokens before its own a row reads, and who goes on from there may have to read again; 0: all.
  int reach(int block_tokens) const {
    if (kind == Kind::state) return block_tokens + 1;  // back to the begin of its block (SchedulerConfig::seals_blocks)
    return kind == Kind::window ? window_tokens : 0;
  }

  bool operator==(const KvGroup&) const = default;
};

struct KvSpec {
  std::vector<KvGroup> groups;

  bool has(KvGroup::Kind kind) const {
    for (const KvGroup& group : groups)
      if (group.kind == kind) return true;
    return false;
  }
  /// The farthest of those groups that do not read all; 0: there are none.
  int recent_reach(int block_tokens) const {
    int reach = 0;
    for (const KvGroup& group : groups) reach = std::max(reach, group.reach(block_tokens));
    return reach;
  }
};

}  // namespace sluice
