#include "model/layers/rwkv4.h"

#include <algorithm>

#include "model/layers/float_math.h"

namespace sluice {

TimeMix4::TimeMix4(int64_t hidden, int64_t width)
    : hidden_(hidden),
      width_(width),
      sums_{hidden, (width + kGroup - 1) / kGroup, 3 * kGroup},
      k_blend_("time_mix_lerp_k", hidden, true),
      v_blend_("time_mix_lerp_v", hidden, true),
      r_blend_("time_mix_lerp_r", hidden, true) {}

void TimeMix4::declare(TensorTable& table) {
  for (RowBlend* blend : {&k_blend_, &v_blend_, &r_blend_}) blend->declare(table);
  table.matrix("time_mix_key.weight", &k_, width_, hidden_, "qkv");
  table.matrix("time_mix_value.weight", &v_, width_, hidden_, "qkv");
  table.matrix("time_mix_receptance.weight", &r_, width_, hidden_, "qkv");
  table.vector("time_mix_decay.weight", &decay_, width_);
  table.vector("time_mix_first.weight", &bonus_, width_);
  table.matrix("time_mix_output.weight", &o_, hidden_, width_, "o");
}

Status TimeMix4::prepare(WeightStore& store) {
  for (RowBlend* blend : {&k_blend_, &v_blend_, &r_blend_}) SLUICE_TRY_STATUS(blend->prepare(store));
  SLUICE_TRY(const std::span<float> values, store.values(width_));
  for (int64_t i = 0; i < width_; ++i) values[static_cast<size_t>(i)] = -std::exp(decay_[i]);
  decay_ = values.data();
  return {};
}

WorkspaceWidths TimeMix4::widths() const { return {hidden_, hidden_, hidden_, width_, 3 * width_}; }

void TimeMix4::average(const LayerPass& pass, const float* k, const float* v, float* out) const {
  walk_state(pass, sums_, [&](int64_t part, float* state, int64_t first, int64_t rows) {
    const int64_t begin = part * kGroup, width = std::min(kGroup, width_ - begin);
    float *const above = state, *const below = state + kGroup, *const exponent = state + 2 * kGroup;
    for (int64_t r = first; r < first + rows; ++r)
      for (int64_t i = 0; i < width; ++i) {
        const int64_t c = begin + i, at = r * width_ + c;
        // Once there is anything, one of the terms of `below` is 1 or more.
        const float so_far = below[i] == 0 ? -1e38f : exponent[i];
        const float newest = k[at] + bonus_[c], top = std::max(so_far, newest);
        const float old_weight = exp_of(so_far - top), new_weight = exp_of(newest - top);
        out[at] = (old_weight * above[i] + new_weight * v[at]) / (old_weight * below[i] + new_weight);
        const float decayed = so_far + decay_[c];
        exponent[i] = std::max(decayed, k[at]);
        const float kept = exp_of(decayed - exponent[i]), added = exp_of(k[at] - exponent[i]);
        above[i] = kept * above[i] + added * v[at];
        below[i] = kept * below[i] + added;
      }
  });
}

bool TimeMix4::mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) {
  const Ops& ops = pass.ops;
  Workspace& w = pass.w;
  const int64_t n = pass.rows.count();
  float *const x = w.q, *const delta = w.k, *const blend = w.v, *const mixed = w.attended;
  Carver extra(w.extra, n);
  float *const k = extra.take(width_), *const v = extra.take(width_), *const r = extra.take(width_);
  shift_inputs(pass, norm, hidden_, 0, x, delta);
  const auto project = [&](const RowBlend& by, const PackedMatrix& matrix, float* out) {
    by.apply(ops, x, delta, n, blend);
    const MatmulOut product{&matrix, nullptr, out, width_};
    ops.matmul({blend, n, hidden_}, {&product, 1});
  };
  project(k_blend_, k_, k);
  project(v_blend_, v_, v);
  average(pass, k, v, mixed);
  const int64_t rows = pass.outputs();
  if (rows == 0) return false;
  project(r_blend_, r_, r);
  if (pass.wanted != nullptr) {
    gather_rows(mixed, width_, *pass.wanted);
    gather_rows(r, width_, *pass.wanted);
  }
  each_row(ops, rows, width_, [&](int64_t row) {
    for (int64_t i = row * width_; i < (row + 1) * width_; ++i) mixed[i] *= sigmoid_of(r[i]);
  });
  const MatmulOut out{&o_, nullptr, y, hidden_, adds};
  ops.matmul({mixed, rows, width_}, {&out, 1});
  return true;
}

}  // namespace sluice
