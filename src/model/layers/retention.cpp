#include "model/layers/retention.h"

#include <cmath>

namespace sluice {

Retention::Retention(RetentionConfig config)
    : config_(std::move(config)),
      state_{0, config_.heads, int64_t{config_.key_dim()} * config_.value_dim()},
      head_norm_("attn_head_norm", config_.norm, config_.heads, config_.value_dim()) {}

void Retention::declare(TensorTable& table) {
  const RetentionConfig& c = config_;
  table.matrix("attn_q.weight", &q_, c.hidden, c.hidden, "qkv");
  table.matrix("attn_k.weight", &k_, c.hidden, c.hidden, "qkv");
  table.matrix("attn_v.weight", &v_, c.values, c.hidden, "qkv");
  table.matrix("attn_gate.weight", &gate_, c.values, c.hidden, "qkv");
  head_norm_.declare(table);
  table.matrix("attn_output.weight", &o_, c.hidden, c.values, "o");
}

void Retention::recur(const LayerPass& pass) const {
  const RetentionConfig& c = config_;
  const Workspace& w = pass.w;
  const int64_t keys = c.key_dim(), values = c.value_dim();
  const float key_scale = 1 / std::sqrt(static_cast<float>(keys));
  walk_state(pass, state_, [&](int64_t head, float* state, int64_t first, int64_t rows) {
    const float decay = 1 - std::ldexp(1.0f, -5 - static_cast<int>(head));
    for (int64_t r = first; r < first + rows; ++r) {
      const float *const q = w.q + r * c.hidden + head * keys, *const k = w.k + r * c.hidden + head * keys;
      const float* const v = w.v + r * c.values + head * values;
      float* const out = w.attended + r * c.values + head * values;
      for (int64_t i = 0; i < values; ++i) out[i] = 0;
      for (int64_t j = 0; j < keys; ++j) {
        float* const s = state + j * values;
        const float key = k[j] * key_scale, reads = q[j];
        for (int64_t i = 0; i < values; ++i) {
          s[i] = decay * s[i] + key * v[i];
          out[i] += reads * s[i];
        }
      }
    }
  });
}

bool Retention::mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) {
  const RetentionConfig& c = config_;
  const Ops& ops = pass.ops;
  Workspace& w = pass.w;
  const int64_t n = pass.rows.count();
  const MatmulOut in[] = {{&q_, nullptr, w.q, c.hidden}, {&k_, nullptr, w.k, c.hidden}, {&v_, nullptr, w.v, c.values},
                          {&gate_, nullptr, w.extra, c.values}};
  ops.matmul({w.x, n, c.hidden, norm}, in);
  for (float* turned : {w.q, w.k})
    ops.rope(turned, pass.rows.positions, c.inv_freq, 1, c.heads, c.key_dim(), static_cast<int>(2 * c.inv_freq.size()), RopeStyle::interleaved);
  recur(pass);
  const int64_t rows = pass.outputs();
  if (rows == 0) return false;
  if (pass.wanted != nullptr) {
    gather_rows(w.attended, c.values, *pass.wanted);
    gather_rows(w.extra, c.values, *pass.wanted);
  }
  head_norm_.apply(ops, w.attended, rows);
  ops.gate(w.extra, w.attended, rows * c.values, Activation::silu);
  const MatmulOut out{&o_, nullptr, y, c.hidden, adds};
  ops.matmul({w.extra, rows, c.values}, {&out, 1});
  return true;
}

}  // namespace sluice
