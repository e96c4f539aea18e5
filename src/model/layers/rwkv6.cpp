#include "model/layers/rwkv6.h"

#include <cstring>

#include "model/layers/float_math.h"

namespace sluice {
namespace {

constexpr const char* kBlendNames[] = {"w", "k", "v", "r", "g"};

}  // namespace

NormStyle rwkv_head_norm(float eps) {
  NormStyle style;
  style.kind = Norm::Kind::layer;
  style.eps = eps;
  style.bias = Presence::required;
  return style;
}

TimeMix6::TimeMix6(const TimeMix6Config& config)
    : config_(config),
      state_{config.hidden, config.heads(), config.head_size * config.head_size},
      low_blend_("time_mix_lerp_x", config.hidden, false),
      head_norm_("time_mix_ln", rwkv_head_norm(config.head_norm_eps), config.heads(), config.head_size) {
  for (int b = 0; b < kBlends; ++b) blends_[b] = RowBlend(fmt::format("time_mix_lerp_{}", kBlendNames[b]), config.hidden, !config.by_row());
}

void TimeMix6::declare(TensorTable& table) {
  const TimeMix6Config& c = config_;
  for (int b = c.by_row() ? kW : kK; b < kBlends; ++b) blends_[b].declare(table);
  if (c.by_row()) {
    low_blend_.declare(table);
    for (int b = 0; b < kBlends; ++b)
      table.matrix(fmt::format("time_mix_w1_{}.weight", kBlendNames[b]), &low_in_[b], c.blend_rank, c.hidden, "qkv");
    table.experts("time_mix_w2.weight", &low_out_, kBlends, c.hidden, c.blend_rank, "qkv");
    table.matrix("time_mix_decay_w1.weight", &decay_in_, c.decay_rank, c.hidden, "qkv");
    table.matrix("time_mix_decay_w2.weight", &decay_out_, c.hidden, c.decay_rank, "qkv");
  }
  table.vector("time_mix_decay.weight", &decay_, c.hidden);
  table.vector("time_mix_first.weight", &bonus_, c.hidden);
  table.matrix("time_mix_key.weight", &k_, c.hidden, c.hidden, "qkv");
  table.matrix("time_mix_value.weight", &v_, c.hidden, c.hidden, "qkv");
  table.matrix("time_mix_receptance.weight", &r_, c.hidden, c.hidden, "qkv");
  table.matrix("time_mix_gate.weight", &g_, c.hidden, c.hidden, "qkv");
  head_norm_.declare(table);
  table.matrix("time_mix_output.weight", &o_, c.hidden, c.hidden, "o");
}

Status TimeMix6::prepare(WeightStore& store) {
  for (int b = config_.by_row() ? kW : kK; b < kBlends; ++b) SLUICE_TRY_STATUS(blends_[b].prepare(store));
  return {};
}

WorkspaceWidths TimeMix6::widths() const {
  const TimeMix6Config& c = config_;
  return {c.hidden, c.hidden, c.hidden, c.hidden, 6 * c.hidden + kBlends * c.blend_rank + c.decay_rank + 32};
}

void TimeMix6::blend_ranks(const LayerPass& pass, const Rows& rows) {
  const TimeMix6Config& c = config_;
  const int64_t n = pass.rows.count();
  low_blend_.apply(pass.ops, rows.x, rows.delta, n, rows.blend);
  MatmulOut outs[kBlends];
  for (int b = 0; b < kBlends; ++b) outs[b] = {&low_in_[b], nullptr, rows.low[b], c.blend_rank};
  pass.ops.matmul({rows.blend, n, c.hidden}, outs);
  for (float* low : rows.low)
    for (int64_t i = 0; i < n * c.blend_rank; ++i) low[i] = std::tanh(low[i]);
}

void TimeMix6::blend(const LayerPass& pass, const Rows& rows, Blended which) {
  const TimeMix6Config& c = config_;
  const int64_t n = pass.rows.count(), width = c.hidden;
  if (!c.by_row()) return blends_[which].apply(pass.ops, rows.x, rows.delta, n, rows.blend);
  const MatmulOut more{&low_out_[which], blends_[which].share(), rows.more, width};
  pass.ops.matmul({rows.low[which], n, c.blend_rank}, {&more, 1});
  each_row(pass.ops, n, width, [&](int64_t r) {
    for (int64_t i = r * width; i < (r + 1) * width; ++i) rows.blend[i] = rows.x[i] + rows.delta[i] * rows.more[i];
  });
}

void TimeMix6::set_decay(const LayerPass& pass, const Rows& rows) {
  const TimeMix6Config& c = config_;
  const int64_t n = pass.rows.count(), width = c.hidden;
  if (c.by_row()) {
    blend(pass, rows, kW);
    const MatmulOut low{&decay_in_, nullptr, rows.decay_low, c.decay_rank};
    pass.ops.matmul({rows.blend, n, width}, {&low, 1});
    for (int64_t i = 0; i < n * c.decay_rank; ++i) rows.decay_low[i] = std::tanh(rows.decay_low[i]);
    const MatmulOut decay{&decay_out_, decay_, rows.decay, width};
    pass.ops.matmul({rows.decay_low, n, c.decay_rank}, {&decay, 1});
  } else {
    for (int64_t r = 0; r < n; ++r) std::memcpy(rows.decay + r * width, decay_, static_cast<size_t>(width) * sizeof(float));
  }
  each_row(pass.ops, n, width, [&](int64_t r) {
    for (int64_t i = r * width; i < (r + 1) * width; ++i) rows.decay[i] = exp_of(-exp_of(rows.decay[i]));
  });
}

void TimeMix6::recur(const LayerPass& pass, const Rows& rows, float* mixed) const {
  const int64_t size = config_.head_size, hidden = config_.hidden;
  walk_state(pass, state_, [&](int64_t head, float* state, int64_t first, int64_t count) {
    const float* const bonus = bonus_ + head * size;
    for (int64_t row = first; row < first + count; ++row) {
      const int64_t at = row * hidden + head * size;
      const float *const k = rows.k + at, *const v = rows.v + at, *const r = rows.r + at, *const decay = rows.decay + at;
      float* const out = mixed + at;
      for (int64_t i = 0; i < size; ++i) out[i] = 0;
      for (int64_t j = 0; j < size; ++j) {
        float* const s = state + j * size;
        const float key = k[j], newest = bonus[j] * key, reads = r[j], keeps = decay[j];
        for (int64_t i = 0; i < size; ++i) {
          out[i] += reads * (newest * v[i] + s[i]);
          s[i] = keeps * s[i] + key * v[i];
        }
      }
    }
  });
}

bool TimeMix6::mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) {
  const TimeMix6Config& c = config_;
  const Ops& ops = pass.ops;
  Workspace& w = pass.w;
  const int64_t n = pass.rows.count(), hidden = c.hidden;
  Carver extra(w.extra, n);
  Rows rows{};
  rows.x = w.q, rows.delta = w.k, rows.blend = w.v;
  for (float** at : {&rows.decay, &rows.k, &rows.v, &rows.r, &rows.g, &rows.more}) *at = extra.take(hidden);
  if (c.by_row()) {
    for (float*& low : rows.low) low = extra.take(c.blend_rank);
    rows.decay_low = extra.take(c.decay_rank);
  }
  float* const mixed = w.attended;
  shift_inputs(pass, norm, hidden, 0, rows.x, rows.delta);
  if (c.by_row()) blend_ranks(pass, rows);
  set_decay(pass, rows);
  const auto project = [&](Blended which, const PackedMatrix& matrix, float* out) {
    blend(pass, rows, which);
    const MatmulOut product{&matrix, nullptr, out, hidden};
    ops.matmul({rows.blend, n, hidden}, {&product, 1});
  };
  project(kK, k_, rows.k);
  project(kV, v_, rows.v);
  project(kR, r_, rows.r);
  recur(pass, rows, mixed);
  const int64_t outputs = pass.outputs();
  if (outputs == 0) return false;
  project(kG, g_, rows.g);
  if (pass.wanted != nullptr) {
    gather_rows(mixed, hidden, *pass.wanted);
    gather_rows(rows.g, hidden, *pass.wanted);
  }
  head_norm_.apply(ops, mixed, outputs);
  ops.gate(rows.g, mixed, outputs * hidden, Activation::silu);
  const MatmulOut out{&o_, nullptr, y, hidden, adds};
  ops.matmul({rows.g, outputs, hidden}, {&out, 1});
  return true;
}

}  // namespace sluice
