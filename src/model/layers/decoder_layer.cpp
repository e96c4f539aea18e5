#include "model/layers/decoder_layer.h"

namespace sluice {

Result<Workspace> Workspace::allocate(const ModelInfo& info, int64_t rows) {
  const int64_t q = int64_t{info.heads} * info.head_dim, kv = int64_t{info.kv_heads} * info.head_dim;
  Workspace w;
  w.rows = rows;
  const std::pair<float**, int64_t> parts[] = {
      {&w.x, info.hidden}, {&w.normed, info.hidden}, {&w.q, q},           {&w.k, kv},
      {&w.v, kv},          {&w.attended, q},         {&w.gate, info.ffn}, {&w.up, info.ffn}};
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

void DecoderLayer::project(Workspace& w, const LayerRows& rows, std::span<const float> inv_freq,
                           const KvLayerView& kv) const {
  const ModelInfo& info = config.info;
  const int64_t n = rows.count();
  ops.rms_norm(w.x, weights.attention_norm, config.norm_eps, n, info.hidden, w.normed);
  const MatmulOut outs[] = {{&weights.q, weights.q_bias, w.q, weights.q.n},
                            {&weights.k, weights.k_bias, w.k, weights.k.n},
                            {&weights.v, weights.v_bias, w.v, weights.v.n}};
  ops.matmul(w.normed, n, outs);
  if (weights.q_norm != nullptr) ops.rms_norm(w.q, weights.q_norm, config.norm_eps, n * info.heads, info.head_dim, w.q);
  if (weights.k_norm != nullptr)
    ops.rms_norm(w.k, weights.k_norm, config.norm_eps, n * info.kv_heads, info.head_dim, w.k);
  const auto rotate = [&](float* x, int heads) {
    ops.rope(x, rows.positions, inv_freq, config.rope.magnitude, heads, info.head_dim, info.head_dim,
             config.rope.style);
  };
  rotate(w.q, info.heads);
  rotate(w.k, info.kv_heads);
  ops.write_kv(w.k, w.v, rows.slots, kv);
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
  const MatmulOut out{&weights.o, weights.o_bias, w.normed, config.info.hidden};
  ops.matmul(w.attended, rows, {&out, 1});
  ops.add(w.x, w.normed, rows * config.info.hidden);
}

void DecoderLayer::feed_forward(Workspace& w, int64_t rows) const {
  const ModelInfo& info = config.info;
  ops.rms_norm(w.x, weights.mlp_norm, config.norm_eps, rows, info.hidden, w.normed);
  const MatmulOut outs[] = {{&weights.gate, weights.gate_bias, w.gate, info.ffn},
                            {&weights.up, weights.up_bias, w.up, info.ffn}};
  ops.matmul(w.normed, rows, outs);
  ops.silu_mul(w.gate, w.up, rows * info.ffn);
  const MatmulOut down{&weights.down, weights.down_bias, w.normed, info.hidden};
  ops.matmul(w.gate, rows, {&down, 1});
  ops.add(w.x, w.normed, rows * info.hidden);
}

}  // namespace sluice
