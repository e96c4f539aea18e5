#pragma once
// Block formats of the KV cache (quant/kv/kv_format.h) in Ops: rows go to open tiles, full blocks are sealed, and
// attention reads a super-tile in float32, unpacked once for all the rows that it serves. Keys of formats that encode them without
// their rotation are turned back and forth here (key_rotation.h).

#include "backend/ops.h"
#include "backend/row_ops.h"

namespace sluice {

class KvUnpack {
 public:
  KvUnpack(const KvLayerView& kv, const RowOps& ops);

  /// Positions [lo, hi) of one KV head to x[hi - lo][head_dim], for rows of the block that begins at position `open_from`.
  void read(KvPart part, int kv_head, const BlockId* blocks, int64_t lo, int64_t hi, int64_t open_from, float* x) const;

 private:
  const KvLayerView& kv_;
  const RowOps& ops_;
  KvDecodeFn *sealed_, *open_;  // of formats of two layers, sealed_ is that of directions
};

/// Ops::write_kv of a block format.
void write_kv_blocks(const float* k, const float* v, std::span<const int64_t> slots, const KvLayerView& kv, const RowOps& ops,
                     ThreadPool& pool);

}  // namespace sluice
