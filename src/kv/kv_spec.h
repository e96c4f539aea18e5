#pragma once
// What a model keeps per token: groups of layers that share one kind of KV. Metadata only.

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

  bool operator==(const KvGroup&) const = default;
};

struct KvSpec {
  std::vector<KvGroup> groups;

  bool has(KvGroup::Kind kind) const {
    for (const KvGroup& group : groups)
      if (group.kind == kind) return true;
    return false;
  }
};

}  // namespace sluice
