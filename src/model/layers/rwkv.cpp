#include "model/layers/rwkv.h"

#include "model/layers/float_math.h"

namespace sluice {

Status RowBlend::prepare(WeightStore& store) {
  if (!own_) return {};
  SLUICE_TRY(const std::span<float> values, store.values(width_));
  for (int64_t i = 0; i < width_; ++i) values[static_cast<size_t>(i)] = 1 - share_[i];
  share_ = values.data();
  return {};
}

void RowBlend::apply(const Ops& ops, const float* x, const float* delta, int64_t rows, float* out) const {
  each_row(ops, rows, width_, [&](int64_t r) {
    const float *const row = x + r * width_, *const d = delta + r * width_;
    for (int64_t i = 0; i < width_; ++i) out[r * width_ + i] = row[i] + d[i] * share_[i];
  });
}

void shift_inputs(const LayerPass& pass, const Norm& norm, int64_t hidden, int64_t offset, float* x, float* delta) {
  const int64_t n = pass.rows.count();
  pass.ops.norm(pass.w.x, norm, n, hidden, x);
  shift_rows(pass, offset, x, hidden, delta);
  each_row(pass.ops, n, hidden, [&](int64_t r) {
    for (int64_t i = r * hidden; i < (r + 1) * hidden; ++i) delta[i] -= x[i];
  });
}

ChannelMix::ChannelMix(const ChannelMixConfig& config)
    : config_(config),
      key_blend_("channel_mix_lerp_k", config.hidden, config.own_shares),
      receptance_blend_("channel_mix_lerp_r", config.hidden, config.own_shares) {}

void ChannelMix::declare(TensorTable& table) {
  const ChannelMixConfig& c = config_;
  key_blend_.declare(table);
  table.matrix("channel_mix_key.weight", &key_, c.ffn, c.hidden, "gate, up");
  table.matrix("channel_mix_value.weight", &value_, c.hidden, c.ffn, "down");
  if (!c.receptance) return;
  receptance_blend_.declare(table);
  table.matrix("channel_mix_receptance.weight", &receptance_, c.hidden, c.hidden, "gate, up");
}

Status ChannelMix::prepare(WeightStore& store) {
  SLUICE_TRY_STATUS(key_blend_.prepare(store));
  return config_.receptance ? receptance_blend_.prepare(store) : Status();
}

WorkspaceWidths ChannelMix::widths() const {
  const int64_t hidden = config_.hidden;
  return {hidden, hidden, hidden, hidden, hidden};
}

bool ChannelMix::mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) {
  const ChannelMixConfig& c = config_;
  const Ops& ops = pass.ops;
  Workspace& w = pass.w;
  float *const x = w.q, *const delta = w.k, *const blend = w.v, *const gate = w.attended, *const out = w.extra;
  shift_inputs(pass, norm, c.hidden, 0, x, delta);
  const int64_t rows = pass.outputs();
  if (rows == 0) return false;
  if (pass.wanted != nullptr) {
    gather_rows(x, c.hidden, *pass.wanted);
    gather_rows(delta, c.hidden, *pass.wanted);
  }
  key_blend_.apply(ops, x, delta, rows, blend);
  Mlp mlp{.up = &key_, .down = &value_, .act = Activation::relu2};
  mlp.adds = c.receptance ? false : adds;
  ops.mlp({blend, rows, c.hidden}, mlp, c.receptance ? out : y);
  if (!c.receptance) return true;
  receptance_blend_.apply(ops, x, delta, rows, blend);
  const MatmulOut receptance{&receptance_, nullptr, gate, c.hidden};
  ops.matmul({blend, rows, c.hidden}, {&receptance, 1});
  each_row(ops, rows, c.hidden, [&](int64_t r) {
    for (int64_t i = r * c.hidden; i < (r + 1) * c.hidden; ++i) y[i] = (adds ? y[i] : 0.0f) + sigmoid_of(gate[i]) * out[i];
  });
  return true;
}

}  // namespace sluice
