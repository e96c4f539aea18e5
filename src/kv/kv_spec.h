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
};

}  // namespace sluice
