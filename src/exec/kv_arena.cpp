#include "exec/kv_arena.h"

#include <cstring>

namespace sluice {

size_t KvArena::block_bytes(const KvSpec& spec, DType dtype, int block_tokens) {
  return spec.token_bytes(static_cast<size_t>(dtype_info(dtype).block_bytes)) * static_cast<size_t>(block_tokens);
}

Result<KvArena> KvArena::allocate(const KvSpec& spec, DType dtype, int blocks, int block_tokens) {
  KvArena arena;
  SLUICE_TRY(arena.buffer_, Buffer::allocate(block_bytes(spec, dtype, block_tokens) * static_cast<size_t>(blocks)));
  uint8_t* at = arena.buffer_.data();
  for (const KvGroup& group : spec.groups) {
    const size_t side = size_t{1} * blocks * group.kv_heads * block_tokens * group.head_dim *
                        static_cast<size_t>(dtype_info(dtype).block_bytes);
    for (int l = 0; l < group.layers; ++l) {
      arena.layers_.push_back({dtype, block_tokens, group.kv_heads, group.head_dim, at, at + side});
      at += 2 * side;
    }
  }
  return arena;
}

void KvArena::copy(const KvCopy& copy) {
  for (const KvLayerView& layer : layers_) {
    const size_t row = static_cast<size_t>(layer.head_dim) * static_cast<size_t>(dtype_info(layer.dtype).block_bytes);
    const size_t head = row * static_cast<size_t>(layer.block_tokens);
    const size_t block = head * static_cast<size_t>(layer.kv_heads);
    for (uint8_t* side : {layer.k, layer.v})
      for (int h = 0; h < layer.kv_heads; ++h)
        std::memcpy(side + copy.dst * block + h * head, side + copy.src * block + h * head,
                    row * static_cast<size_t>(copy.tokens));
  }
}

}  // namespace sluice
