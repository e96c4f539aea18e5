#include "model/layers/decoder_layer.h"

namespace sluice {

Result<Workspace> Workspace::allocate(const ModelInfo& info, int64_t rows) {
  const int64_t q = int64_t{info.heads} * info.head_dim, kv = int64_t{info.kv_heads} * info.head_dim;
  Workspace w;
  w.rows = rows;
  const std::pair<float**, int64_t> parts[] = {
      {&w.x, info.hidden}, {&w.q, q}, {&w.k, kv}, {&w.v, kv}, {&w.attended, q}};
  const auto padded = [](int64_t floats) { return (floats + 15) / 16 * 16; };  // every part begins on a cache line
  int64_t floats = 0;
  for (const auto& [at, width] : parts) floats += padded(width * rows);
  SLUICE_TRY(w.memory, Buffer::allocate(static_cast<size_t>(floats) * sizeof(float)));
  float* next = w.memory.as<float>();
  for (const auto& [at, width] : parts) {
    *at = next;
    next += padded(width * rows);
  }
  return w;
}

void DecoderLayer::project(Workspace& w, const LayerRows& rows, std::span<const float> inv_freq) const {
  const ModelInfo& info = config.info;
  const int64_t n = rows.count();
  const MatmulIn in{w.x, n, info.hidden, config.rms_norm(weights.attention_norm)};
  const MatmulOut outs[] = {{&weights.q, weights.q_bias, w.q, weights.q.n},
                            {&weights.k, weights.k_bias, w.k, weights.k.n},
                            {&weights.v, weights.v_bias, w.v, weights.v.n}};
  ops.matmul(in, outs);
  if (weights.q_norm != nullptr) ops.norm(w.q, config.rms_norm(weights.q_norm), n * info.heads, info.head_dim, w.q);
  if (weights.k_norm != nullptr) ops.norm(w.k, config.rms_norm(weights.k_norm), n * info.kv_heads, info.head_dim, w.k);
  const auto rotate = [&](float* x, int heads) {
    ops.rope(x, rows.positions, inv_freq, config.rope.magnitude, heads, info.head_dim, info.head_dim,
             config.rope.style);
  };
  rotate(w.q, info.heads);
  rotate(w.k, info.kv_heads);
}

void DecoderLayer::attend(Workspace& w, std::span<const AttendSegment> segments, int64_t rows,
                          const KvLayerView& kv) const {
  AttendArgs args;
  args.q = w.q;
  args.out = w.attended;
  args.heads = config.info.heads;
  args.scale = config.attention_scale;
  args.window = window;
  args.kv = kv;
  args.segments = segments;
  ops.attend(args);
  const MatmulIn in{w.attended, rows, int64_t{args.heads} * args.kv.head_dim};
  const MatmulOut out{&weights.o, weights.o_bias, w.x, config.info.hidden, true};
  ops.matmul(in, {&out, 1});
}

void DecoderLayer::feed_forward(Workspace& w, int64_t rows) const {
  const MatmulIn in{w.x, rows, config.info.hidden, config.rms_norm(weights.mlp_norm)};
  ops.mlp(in, {&weights.gate, &weights.up, &weights.down, weights.gate_bias, weights.up_bias, weights.down_bias}, w.x);
}

}  // namespace sluice
