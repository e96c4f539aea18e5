#pragma once
// The seam inside a forward pass: what looks on between the steps of a layer, or brings what the layer needs. Called by
// the thread that runs the pass, in the order of the layers, once per piece of rows that is computed at a time.

#include <cstdint>
#include <span>

#include "backend/ops.h"

namespace sluice {

/// The rows of a piece as a layer's attention will see them; valid during the call.
struct LayerView {
  int layer = 0;
  const float* hidden = nullptr;  // [rows, hidden]: the layer's input
  const float* q = nullptr;       // [rows, heads, head_dim], rotated
  const float* k = nullptr;       // [rows, kv_heads, head_dim], rotated
  const float* v = nullptr;       // same
  int heads = 0;
  float scale = 1;                          // of the scores
  std::span<const int32_t> positions;       // [rows]
  std::span<const AttendSegment> segments;  // cover all rows; over slots, the rows' own included
  const KvLayerView& kv;
};

/// Layers are numbered as those of the KV are, of which a layer with two mixers has two.
struct LayerPolicy {
  virtual ~LayerPolicy() = default;
  /// Before the first layer of a piece; the segments cover its rows.
  virtual void before_piece(std::span<const AttendSegment> /*segments*/) {}
  /// Before anything of the layer is read, its KV included.
  virtual void before_layer(int /*layer*/) {}
  /// The rows' keys and values are projected; their slots hold what they held before. False ends the pass here, for all
  /// rows: nothing is written, and nothing comes of it. Such a pass yields no logits.
  virtual bool before_write(const LayerView&) { return true; }
  /// The rows' keys and values stand in their slots.
  virtual void before_attention(const LayerView&) {}
  /// Its KV is not read any more in this piece.
  virtual void after_attention(int /*layer*/) {}
};

}  // namespace sluice
