#include "model/layers/rwkv7.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/layers/float_math.h"
#include "model/layers/rwkv6.h"

namespace sluice {

TimeMix7::TimeMix7(TimeMix7Config config)
    : config_(std::move(config)),
      state_{config_.hidden, config_.heads(), config_.head_size * config_.head_size},
      head_norm_("time_mix_ln", rwkv_head_norm(config_.head_norm_eps), config_.heads(), config_.head_size) {
  constexpr const char* kNames[] = {"r", "w", "k", "v", "a", "g"};
  for (int b = 0; b < kBlends; ++b) blends_[b] = RowBlend(fmt::format("time_mix_lerp_{}", kNames[b]), config_.hidden, false);
  decay_.rank = config_.decay_rank, rate_.rank = config_.rate_rank, value_.rank = config_.value_rank, gate_.rank = config_.gate_rank;
}

void TimeMix7::declare(TensorTable& table, std::string_view name, LowRank& product, bool bias) {
  table.matrix(fmt::format("time_mix_{}1.weight", name), &product.first, product.rank, config_.hidden, "qkv");
  table.matrix(fmt::format("time_mix_{}2.weight", name), &product.second, config_.hidden, product.rank, "qkv");
  if (bias) table.vector(fmt::format("time_mix_{}0.weight", name), &product.bias, config_.hidden);
}

void TimeMix7::declare(TensorTable& table) {
  const int64_t hidden = config_.hidden;
  for (RowBlend& blend : blends_) blend.declare(table);
  declare(table, "w", decay_, true);
  declare(table, "a", rate_, true);
  if (config_.first)
    for (const char* unused : {"time_mix_v0.weight", "time_mix_v1.weight", "time_mix_v2.weight"}) table.ignore(unused);
  else
    declare(table, "v", value_, true);
  declare(table, "g", gate_, false);
  table.vector("time_mix_k_k.weight", &removal_gain_, hidden);
  table.vector("time_mix_k_a.weight", &rate_share_, hidden);
  table.vector("time_mix_r_k.weight", &bonus_, hidden);
  table.matrix("time_mix_key.weight", &k_, hidden, hidden, "qkv");
  table.matrix("time_mix_value.weight", &v_, hidden, hidden, "qkv");
  table.matrix("time_mix_receptance.weight", &r_, hidden, hidden, "qkv");
  head_norm_.declare(table);
  table.matrix("time_mix_output.weight", &o_, hidden, hidden, "o");
}

WorkspaceWidths TimeMix7::widths() const {
  const TimeMix7Config& c = config_;
  return {c.hidden, c.hidden, c.hidden, c.hidden,
          8 * c.hidden + std::max({c.decay_rank, c.rate_rank, c.value_rank, c.gate_rank}) + 16};
}

template <class F>
void TimeMix7::apply(const LayerPass& pass, const Rows& rows, const LowRank& product, F between, float* out) const {
  const int64_t n = pass.rows.count();
  const MatmulOut low{&product.first, nullptr, rows.low, product.rank};
  pass.ops.matmul({rows.blend, n, config_.hidden}, {&low, 1});
  for (int64_t i = 0; i < n * product.rank; ++i) rows.low[i] = between(rows.low[i]);
  const MatmulOut high{&product.second, product.bias, out, config_.hidden};
  pass.ops.matmul({rows.low, n, product.rank}, {&high, 1});
}

void TimeMix7::project(const LayerPass& pass, const Rows& rows, Blended which, const PackedMatrix& matrix, float* out) const {
  const int64_t n = pass.rows.count();
  blends_[which].apply(pass.ops, rows.x, rows.delta, n, rows.blend);
  const MatmulOut product{&matrix, nullptr, out, config_.hidden};
  pass.ops.matmul({rows.blend, n, config_.hidden}, {&product, 1});
}

void TimeMix7::set_decay(const LayerPass& pass, const Rows& rows) const {
  const int64_t n = pass.rows.count(), hidden = config_.hidden;
  blends_[kW].apply(pass.ops, rows.x, rows.delta, n, rows.blend);
  apply(pass, rows, decay_, [](float x) { return std::tanh(x); }, rows.decay);
  constexpr float kMost = 0.60653066f;  // e^-0.5: no step forgets more than e^-0.61 leaves
  each_row(pass.ops, n, hidden, [&](int64_t r) {
    for (int64_t i = r * hidden; i < (r + 1) * hidden; ++i) rows.decay[i] = exp_of(-kMost * sigmoid_of(rows.decay[i]));
  });
}

void TimeMix7::set_values(const LayerPass& pass, const Rows& rows) const {
  const int64_t n = pass.rows.count(), hidden = config_.hidden;
  project(pass, rows, kV, v_, rows.v);
  std::vector<float>& shared = *config_.first_values;
  if (config_.first) {
    shared.assign(rows.v, rows.v + n * hidden);
    return;
  }
  apply(pass, rows, value_, [](float x) { return x; }, rows.more);
  each_row(pass.ops, n, hidden, [&](int64_t r) {
    for (int64_t i = r * hidden; i < (r + 1) * hidden; ++i)
      rows.v[i] += (shared[static_cast<size_t>(i)] - rows.v[i]) * sigmoid_of(rows.more[i]);
  });
}

void TimeMix7::set_gate(const LayerPass& pass, const Rows& rows) const {
  blends_[kG].apply(pass.ops, rows.x, rows.delta, pass.rows.count(), rows.blend);
  apply(pass, rows, gate_, sigmoid_of, rows.gate);
}

void TimeMix7::set_keys(const LayerPass& pass, const Rows& rows) const {
  const int64_t n = pass.rows.count(), hidden = config_.hidden, size = config_.head_size;
  project(pass, rows, kK, k_, rows.k);
  blends_[kA].apply(pass.ops, rows.x, rows.delta, n, rows.blend);
  apply(pass, rows, rate_, [](float x) { return x; }, rows.rate);
  each_row(pass.ops, n, 4 * hidden, [&](int64_t r) {
    for (int64_t head = 0; head < hidden; head += size) {
      const int64_t at = r * hidden + head;
      float *const k = rows.k + at, *const rate = rows.rate + at, *const removal = rows.removal + at;
      float squares = 0;
      for (int64_t i = 0; i < size; ++i) {
        removal[i] = k[i] * removal_gain_[head + i];
        squares += removal[i] * removal[i];
      }
      const float scale = 1 / std::max(std::sqrt(squares), 1e-12f);
      for (int64_t i = 0; i < size; ++i) {
        removal[i] *= scale;
        rate[i] = sigmoid_of(rate[i]);
        k[i] *= 1 + (rate[i] - 1) * rate_share_[head + i];
      }
    }
  });
}

void TimeMix7::recur(const LayerPass& pass, const Rows& rows, float* mixed) const {
  const int64_t size = config_.head_size, hidden = config_.hidden;
  walk_state(pass, state_, [&](int64_t head, float* state, int64_t first, int64_t count) {
    thread_local std::vector<float> removed;
    removed.resize(static_cast<size_t>(size));
    for (int64_t row = first; row < first + count; ++row) {
      const int64_t at = row * hidden + head * size;
      const float *const k = rows.k + at, *const v = rows.v + at, *const r = rows.r + at, *const decay = rows.decay + at,
                  *const removal = rows.removal + at, *const rate = rows.rate + at;
      float *const out = mixed + at, *const held = removed.data();
      for (int64_t i = 0; i < size; ++i) held[i] = out[i] = 0;
      for (int64_t j = 0; j < size; ++j)
        for (int64_t i = 0; i < size; ++i) held[i] += state[j * size + i] * removal[j];
      for (int64_t j = 0; j < size; ++j) {
        float* const s = state + j * size;
        const float key = k[j], reads = r[j], keeps = decay[j], takes = removal[j] * rate[j];
        for (int64_t i = 0; i < size; ++i) {
          s[i] = keeps * s[i] - held[i] * takes + v[i] * key;
          out[i] += s[i] * reads;
        }
      }
    }
  });
}

bool TimeMix7::mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) {
  const TimeMix7Config& c = config_;
  const Ops& ops = pass.ops;
  Workspace& w = pass.w;
  const int64_t n = pass.rows.count(), hidden = c.hidden, size = c.head_size;
  Carver extra(w.extra, n);
  Rows rows{};
  rows.x = w.q, rows.delta = w.k, rows.blend = w.v;
  for (float** at : {&rows.r, &rows.decay, &rows.k, &rows.v, &rows.rate, &rows.gate, &rows.removal, &rows.more}) *at = extra.take(hidden);
  rows.low = extra.take(std::max({c.decay_rank, c.rate_rank, c.value_rank, c.gate_rank}));
  float* const mixed = w.attended;
  shift_inputs(pass, norm, hidden, 0, rows.x, rows.delta);
  project(pass, rows, kR, r_, rows.r);
  set_decay(pass, rows);
  set_values(pass, rows);
  set_keys(pass, rows);
  recur(pass, rows, mixed);
  const int64_t outputs = pass.outputs();
  if (outputs == 0) return false;
  set_gate(pass, rows);
  if (pass.wanted != nullptr)
    for (float* values : {mixed, rows.r, rows.k, rows.v, rows.gate}) gather_rows(values, hidden, *pass.wanted);
  head_norm_.apply(ops, mixed, outputs);
  each_row(ops, outputs, 2 * hidden, [&](int64_t r) {
    for (int64_t head = 0; head < hidden; head += size) {
      const int64_t at = r * hidden + head;
      float weight = 0;
      for (int64_t i = 0; i < size; ++i) weight += rows.r[at + i] * rows.k[at + i] * bonus_[head + i];
      for (int64_t i = 0; i < size; ++i) mixed[at + i] = (mixed[at + i] + weight * rows.v[at + i]) * rows.gate[at + i];
    }
  });
  const MatmulOut out{&o_, nullptr, y, hidden, adds};
  ops.matmul({mixed, outputs, hidden}, {&out, 1});
  return true;
}

}  // namespace sluice
