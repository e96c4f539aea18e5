#pragma once
// One pre-norm decoder layer: x += attention(norm(x)); x += mlp(norm(x)), over a batch of rows.

#include <cstdint>
#include <span>

#include "backend/ops.h"
#include "base/ids.h"
#include "base/result.h"
#include "model/layers/decoder_config.h"
#include "model/layers/tensor_spec.h"
#include "tensor/buffer.h"

namespace sluice {

/// The activations of up to `rows` rows, in one piece of memory that every layer and step uses again.
struct Workspace {
  static Result<Workspace> allocate(const ModelInfo& info, int64_t rows);

  int64_t rows = 0;
  float* x = nullptr;         // [rows, hidden]: the residual stream
  float* q = nullptr;         // [rows, heads, head_dim]
  float* k = nullptr;         // [rows, kv_heads, head_dim]
  float* v = nullptr;         // same
  float* attended = nullptr;  // [rows, heads, head_dim]
  Buffer memory;
};

/// The rows in the workspace: where they stand, and where their K and V go.
struct LayerRows {
  std::span<const int32_t> positions;
  std::span<const int64_t> slots;
  std::span<const AttendSegment> segments;  // rows count from the workspace's first
  int64_t count() const { return static_cast<int64_t>(positions.size()); }
};

/// The steps of a layer, in order; each reads and writes the workspace.
struct DecoderLayer {
  const Ops& ops;
  const DecoderConfig& config;
  const LayerWeights& weights;
  int window = 0;

  /// q, k, v of the rows, biased, normed per head where the family does, and rotated.
  void project(Workspace& w, const LayerRows& rows, std::span<const float> inv_freq) const;
  /// x += o_proj(attention(q)).
  void attend(Workspace& w, std::span<const AttendSegment> segments, int64_t rows, const KvLayerView& kv) const;
  /// x += down_proj(silu(gate_proj(norm(x))) * up_proj(norm(x))).
  void feed_forward(Workspace& w, int64_t rows) const;
};

}  // namespace sluice
