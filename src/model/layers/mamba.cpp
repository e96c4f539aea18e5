#include "model/layers/mamba.h"

#include <algorithm>

#include "model/layers/float_math.h"

namespace sluice {

MambaMixer::MambaMixer(MambaConfig config)
    : config_(std::move(config)),
      conv_("ssm_conv1d", config_.inner, config_.taps, config_.conv_bias),
      scan_{conv_.state(0).end(), (config_.inner + kGroup - 1) / kGroup, config_.state * kGroup},
      dt_norm_("ssm_dt_norm", config_.norms, config_.dt_rank),
      b_norm_("ssm_b_norm", config_.norms, config_.state),
      c_norm_("ssm_c_norm", config_.norms, config_.state) {}

void MambaMixer::declare(TensorTable& table) {
  const MambaConfig& c = config_;
  table.matrix("ssm_in_x.weight", &in_x_, c.inner, c.hidden, "ssm in");
  table.matrix("ssm_in_gate.weight", &in_gate_, c.inner, c.hidden, "ssm in");
  conv_.declare(table);
  table.matrix("ssm_x_dt.weight", &x_dt_, c.dt_rank, c.inner, "ssm x");
  table.matrix("ssm_x_b.weight", &x_b_, c.state, c.inner, "ssm x");
  table.matrix("ssm_x_c.weight", &x_c_, c.state, c.inner, "ssm x");
  dt_norm_.declare(table);
  b_norm_.declare(table);
  c_norm_.declare(table);
  table.matrix("ssm_dt.weight", &dt_, c.inner, c.dt_rank, "ssm x");
  table.vector("ssm_dt.bias", &dt_bias_, c.inner);
  table.vector("ssm_a", &a_, c.inner * c.state);
  table.vector("ssm_d", &d_, c.inner);
  table.matrix("ssm_out.weight", &out_, c.hidden, c.inner, "ssm out");
}

Status MambaMixer::prepare(WeightStore& store) {
  SLUICE_TRY_STATUS(conv_.prepare(store));
  SLUICE_TRY(const std::span<float> values, store.values(scan_.parts * scan_.floats));
  std::ranges::fill(values, 0.0f);
  a_by_state_ = values.data();
  for (int64_t c = 0; c < config_.inner; ++c)
    for (int64_t n = 0; n < config_.state; ++n)
      a_by_state_[c / kGroup * scan_.floats + n * kGroup + c % kGroup] = a_[c * config_.state + n];
  return {};
}

WorkspaceWidths MambaMixer::widths() const {
  const int64_t inner = config_.inner;
  return {inner, inner, inner, inner, config_.dt_rank + 2 * config_.state + 32};
}

void MambaMixer::scan(const LayerPass& pass, const Rows& rows) const {
  const int64_t states = config_.state, inner = config_.inner;
  walk_state(pass, scan_, [&](int64_t part, float* h, int64_t first, int64_t count) {
    const int64_t begin = part * kGroup, width = std::min(kGroup, inner - begin);
    const float* const a = a_by_state_ + part * scan_.floats;
    for (int64_t r = first; r < first + count; ++r) {
      const float *const x = rows.x + r * inner + begin, *const raw_dt = rows.dt + r * inner + begin;
      const float *const b = rows.b + r * states, *const c = rows.c + r * states;
      float dt[kGroup], input[kGroup], sum[kGroup];
      for (int64_t i = 0; i < width; ++i) dt[i] = softplus_of(raw_dt[i]);
      for (int64_t i = 0; i < width; ++i) input[i] = dt[i] * x[i], sum[i] = 0;
      for (int64_t n = 0; n < states; ++n) {
        float* const state = h + n * kGroup;
        const float* const rate = a + n * kGroup;
        for (int64_t i = 0; i < width; ++i) {
          state[i] = exp_of(dt[i] * rate[i]) * state[i] + input[i] * b[n];
          sum[i] += state[i] * c[n];
        }
      }
      float* const y = rows.y + r * inner + begin;
      for (int64_t i = 0; i < width; ++i) y[i] = sum[i] + d_[begin + i] * x[i];
    }
  });
}

bool MambaMixer::mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) {
  const MambaConfig& c = config_;
  const Ops& ops = pass.ops;
  Workspace& w = pass.w;
  const int64_t n = pass.rows.count();
  Carver extra(w.extra, n);
  const Rows rows{w.q, w.k, w.v, w.attended, extra.take(c.dt_rank), extra.take(c.state), extra.take(c.state)};
  const MatmulOut in[] = {{&in_x_, nullptr, rows.x, c.inner}, {&in_gate_, nullptr, rows.gate, c.inner}};
  ops.matmul({w.x, n, c.hidden, norm}, in);
  conv_.apply(pass, 0, rows.x);
  const MatmulOut selects[] = {{&x_dt_, nullptr, rows.dt_low, c.dt_rank}, {&x_b_, nullptr, rows.b, c.state}, {&x_c_, nullptr, rows.c, c.state}};
  ops.matmul({rows.x, n, c.inner}, selects);
  if (b_norm_.present()) {
    ops.norm(rows.b, b_norm_.norm(), n, c.state, rows.b);
    ops.norm(rows.c, c_norm_.norm(), n, c.state, rows.c);
  }
  const MatmulOut dt{&dt_, dt_bias_, rows.dt, c.inner};
  ops.matmul({rows.dt_low, n, c.dt_rank, dt_norm_.norm()}, {&dt, 1});
  scan(pass, rows);
  const int64_t outputs = pass.outputs();
  if (outputs == 0) return false;
  if (pass.wanted != nullptr) {
    gather_rows(rows.y, c.inner, *pass.wanted);
    gather_rows(rows.gate, c.inner, *pass.wanted);
  }
  ops.gate(rows.gate, rows.y, outputs * c.inner, Activation::silu);
  const MatmulOut out{&out_, nullptr, y, c.hidden, adds};
  ops.matmul({rows.gate, outputs, c.inner}, {&out, 1});
  return true;
}

void name_mamba(TensorNames& names, const MambaConfig& c, const std::string& at) {
  for (auto* places : {&names.huggingface, &names.gguf}) {
    const bool gguf = places == &names.gguf;
    const auto name = [&](std::string_view hf, std::string_view key) { return gguf ? std::string(key) : fmt::format("{}.{}", at, hf); };
    const std::string in = name("in_proj", "ssm_in"), x = name("x_proj", "ssm_x");
    const int64_t low = c.dt_rank + 2 * c.state;
    (*places)["ssm_in_x"] = {.name = in, .of_rows = 2 * c.inner};
    (*places)["ssm_in_gate"] = {.name = in, .rows = {c.inner}, .of_rows = 2 * c.inner};
    (*places)["ssm_x_dt"] = {.name = x, .of_rows = low};
    (*places)["ssm_x_b"] = {.name = x, .rows = {c.dt_rank}, .of_rows = low};
    (*places)["ssm_x_c"] = {.name = x, .rows = {c.dt_rank + c.state}, .of_rows = low};
    (*places)["ssm_conv1d.weight"] = {.name = name("conv1d.weight", "ssm_conv1d.weight"),
                                      .shape = gguf ? Shape{c.inner, c.taps} : Shape{c.inner, 1, c.taps}};
    (*places)["ssm_a"] = {.name = name("A_log", "ssm_a"), .log_of_minus = !gguf, .shape = {c.inner, c.state}};
  }
  const auto place = [&](std::string_view rest) { return Place{fmt::format("{}.{}", at, rest)}; };
  names.hf("ssm_conv1d.bias", place("conv1d.bias"))
      .hf("ssm_dt", place("dt_proj"))
      .hf("ssm_d", place("D"))
      .hf("ssm_out", place("out_proj"))
      .hf("ssm_dt_norm", place("dt_layernorm"))
      .hf("ssm_b_norm", place("b_layernorm"))
      .hf("ssm_c_norm", place("c_layernorm"));
}

}  // namespace sluice
