#include "model/layers/mamba2.h"

#include <algorithm>

#include "model/layers/float_math.h"

namespace sluice {

Mamba2Mixer::Mamba2Mixer(Mamba2Config config)
    : config_(std::move(config)),
      conv_("ssm_conv1d", config_.conv_channels(), config_.taps, config_.conv_bias),
      scan_{conv_.state(0).end(), config_.heads, config_.state * config_.head_dim},
      out_norm_("ssm_norm", config_.norm, config_.norm_groups, config_.inner() / config_.norm_groups) {}

void Mamba2Mixer::declare(TensorTable& table) {
  const Mamba2Config& c = config_;
  table.matrix("ssm_in_gate.weight", &in_gate_, c.inner(), c.hidden, "ssm in");
  table.matrix("ssm_in_xbc.weight", &in_xbc_, c.conv_channels(), c.hidden, "ssm in");
  table.matrix("ssm_in_dt.weight", &in_dt_, c.heads, c.hidden, "ssm in");
  table.vector("ssm_in_gate.bias", &gate_in_bias_, c.inner(), c.bias);
  table.vector("ssm_in_xbc.bias", &xbc_in_bias_, c.conv_channels(), c.bias);
  table.vector("ssm_in_dt.bias", &dt_in_bias_, c.heads, c.bias);
  conv_.declare(table);
  table.vector("ssm_dt.bias", &dt_bias_, c.heads);
  table.vector("ssm_a", &a_, c.heads);
  table.vector("ssm_d", &d_, c.heads);
  out_norm_.declare(table);
  table.matrix("ssm_out.weight", &out_, c.hidden, c.inner(), "ssm out");
  table.vector("ssm_out.bias", &out_bias_, c.hidden, c.bias);
}

WorkspaceWidths Mamba2Mixer::widths() const {
  return {config_.inner(), config_.conv_channels(), config_.heads, config_.inner(), 0};
}

void Mamba2Mixer::project(const LayerPass& pass, const Norm& norm) {
  const Mamba2Config& c = config_;
  Workspace& w = pass.w;
  const int64_t n = pass.rows.count(), bc = c.groups * c.state;
  const MatmulOut in[] = {{&in_gate_, gate_in_bias_, w.q, c.inner()},
                          {&in_xbc_, xbc_in_bias_, w.k, c.conv_channels()},
                          {&in_dt_, dt_in_bias_, w.v, c.heads}};
  pass.ops.matmul({w.x, n, c.hidden, norm}, in);
  if (c.scales.empty() && c.input_scale == 1) return;
  const auto scale = [&](size_t which) { return c.input_scale * (c.scales.empty() ? 1.0f : c.scales[which]); };
  pass.ops.scale(w.q, scale(0), n * c.inner());
  for (int64_t r = 0; r < n; ++r) {
    float* const row = w.k + r * c.conv_channels();
    pass.ops.scale(row, scale(1), c.inner());
    pass.ops.scale(row + c.inner(), scale(2), bc);
    pass.ops.scale(row + c.inner() + bc, scale(3), bc);
  }
  pass.ops.scale(w.v, scale(4), n * c.heads);
}

void Mamba2Mixer::scan(const LayerPass& pass, const float* xbc, const float* dts, float* y) const {
  const Mamba2Config& c = config_;
  const int64_t dim = c.head_dim, stride = c.conv_channels(), per_group = c.heads / c.groups;
  walk_state(pass, scan_, [&](int64_t head, float* s, int64_t first, int64_t count) {
    thread_local std::vector<float> input;
    input.resize(static_cast<size_t>(dim));
    for (int64_t r = first; r < first + count; ++r) {
      const float *const x = xbc + r * stride + head * dim, *const b = xbc + r * stride + c.inner() + head / per_group * c.state,
                  *const read = b + c.groups * c.state;
      float dt = softplus_of(dts[r * c.heads + head] + dt_bias_[head]);
      if (c.most_dt > 0) dt = std::clamp(dt, c.least_dt, c.most_dt);
      const float decay = exp_of(dt * a_[head]);
      float *const out = y + r * c.inner() + head * dim, *const in = input.data();
      for (int64_t i = 0; i < dim; ++i) in[i] = dt * x[i], out[i] = d_[head] * x[i];
      for (int64_t n = 0; n < c.state; ++n) {
        float* const state = s + n * dim;
        const float takes = b[n], reads = read[n];
        for (int64_t i = 0; i < dim; ++i) {
          state[i] = decay * state[i] + takes * in[i];
          out[i] += reads * state[i];
        }
      }
    }
  });
}

bool Mamba2Mixer::mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) {
  const Mamba2Config& c = config_;
  const Ops& ops = pass.ops;
  Workspace& w = pass.w;
  project(pass, norm);
  float *gate = w.q, *mixed = w.attended;
  conv_.apply(pass, 0, w.k);
  scan(pass, w.k, w.v, mixed);
  const int64_t rows = pass.outputs();
  if (rows == 0) return false;
  if (pass.wanted != nullptr) {
    gather_rows(gate, c.inner(), *pass.wanted);
    gather_rows(mixed, c.inner(), *pass.wanted);
  }
  if (out_norm_.present() && c.norm_before_gate) out_norm_.apply(ops, mixed, rows);
  ops.gate(gate, mixed, rows * c.inner(), Activation::silu);
  if (out_norm_.present() && !c.norm_before_gate) out_norm_.apply(ops, gate, rows);
  if (c.output_scale != 1) ops.scale(gate, c.output_scale, rows * c.inner());
  const MatmulOut out{&out_, out_bias_, y, c.hidden, adds};
  ops.matmul({gate, rows, c.inner()}, {&out, 1});
  return true;
}

void name_mamba2(TensorNames& names, const Mamba2Config& c, const std::string& at) {
  for (auto* places : {&names.huggingface, &names.gguf}) {
    const bool gguf = places == &names.gguf;
    const auto name = [&](std::string_view hf, std::string_view key) { return gguf ? std::string(key) : fmt::format("{}.{}", at, hf); };
    const std::string in = name("in_proj", "ssm_in");
    (*places)["ssm_in_gate"] = {.name = in, .of_rows = c.in_rows()};
    (*places)["ssm_in_xbc"] = {.name = in, .rows = {c.inner()}, .of_rows = c.in_rows()};
    (*places)["ssm_in_dt"] = {.name = in, .rows = {c.inner() + c.conv_channels()}, .of_rows = c.in_rows()};
    (*places)["ssm_conv1d.weight"] = {.name = name("conv1d.weight", "ssm_conv1d.weight"),
                                      .shape = gguf ? Shape{c.conv_channels(), c.taps} : Shape{c.conv_channels(), 1, c.taps}};
    (*places)["ssm_a"] = {.name = name("A_log", "ssm_a"), .log_of_minus = !gguf, .shape = gguf ? Shape{c.heads, 1} : Shape{c.heads}};
    (*places)["ssm_d"] = {.name = name("D", "ssm_d"), .shape = gguf ? Shape{c.heads, 1} : Shape{c.heads}};
    (*places)["ssm_norm.weight"] = {.name = name("norm.weight", "ssm_norm.weight"),
                                    .shape = gguf ? Shape{c.groups, c.inner() / c.groups} : Shape{c.inner()}};
  }
  const auto place = [&](std::string_view rest) { return Place{fmt::format("{}.{}", at, rest)}; };
  names.hf("ssm_conv1d.bias", place("conv1d.bias")).hf("ssm_dt.bias", place("dt_bias")).hf("ssm_out", place("out_proj"));
}

}  // namespace sluice
