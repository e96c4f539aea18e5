#pragma once
// What a model keeps per token: groups of layers that share one kind of KV. Metadata only.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sluice {

struct KvGroup {
  enum class Kind : uint8_t { full, window, latent, state };
  Kind kind = Kind::full;
  int first_layer = 0, layers = 0;
  int kv_heads = 0, head_dim = 0;  // of full and window groups
  int window_tokens = 0;           // of window groups
};

struct KvSpec {
  std::vector<KvGroup> groups;
  /// Bytes that one token takes over all layers, K and V, at `elem_bytes` per value.
  size_t token_bytes(size_t elem_bytes) const {
    size_t bytes = 0;
    for (const KvGroup& g : groups) bytes += size_t{2} * g.layers * g.kv_heads * g.head_dim * elem_bytes;
    return bytes;
  }
};

}  // namespace sluice
