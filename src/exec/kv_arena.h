#pragma once
// The bytes of the KV cache: for every layer K and V as [blocks][kv_heads] tiles of a format (quant/kv/kv_format.h).

#include <span>
#include <vector>

#include "backend/ops.h"
#include "kv/kv_copy.h"
#include "kv/kv_spec.h"
#include "tensor/buffer.h"

namespace sluice {

class KvArena {
 public:
  /// Address space for `blocks` blocks; pages are touched when blocks are first written.
  static Result<KvArena> allocate(const KvSpec& spec, const KvFormat& format, int blocks, int block_tokens);
  /// Bytes that one block takes over all layers, side streams included.
  static size_t block_bytes(const KvSpec& spec, const KvFormat& format, int block_tokens);

  std::span<const KvLayerView> layers() const { return layers_; }
  size_t bytes() const { return buffer_.bytes(); }
  /// Copies the first `copy.tokens` slots of every layer and head from one block to another.
  void copy(const KvCopy& copy);
  /// A whole block, out of the pool and into it: block_bytes() of one block, layer by layer.
  void get(BlockId block, uint8_t* bytes) const;
  void put(BlockId block, const uint8_t* bytes);

 private:
  Buffer buffer_;
  std::vector<KvLayerView> layers_;
};

}  // namespace sluice
