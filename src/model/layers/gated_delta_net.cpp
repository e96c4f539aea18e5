#include "model/layers/gated_delta_net.h"

#include "model/layers/float_math.h"

namespace sluice {
namespace {

// to[0, n) = x * scale / |x|.
void unit(const float* x, int64_t n, float scale, float* to) {
  float squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += x[i] * x[i];
  const float factor = scale / std::sqrt(squares + 1e-6f);
  for (int64_t i = 0; i < n; ++i) to[i] = x[i] * factor;
}

}  // namespace

GatedDeltaNet::GatedDeltaNet(GatedDeltaConfig config)
    : config_(std::move(config)),
      conv_("ssm_conv1d", config_.conv_channels(), config_.taps, Presence::absent),
      state_{conv_.state(0).end(), config_.value_heads, config_.key_dim * config_.value_dim},
      head_norm_("ssm_norm", config_.norm, config_.value_dim) {}

void GatedDeltaNet::declare(TensorTable& table) {
  const GatedDeltaConfig& c = config_;
  table.matrix("ssm_q.weight", &q_, c.keys(), c.hidden, "qkv");
  table.matrix("ssm_k.weight", &k_, c.keys(), c.hidden, "qkv");
  table.matrix("ssm_v.weight", &v_, c.values(), c.hidden, "qkv");
  table.matrix("ssm_z.weight", &gate_, c.values(), c.hidden, "qkv");
  table.matrix("ssm_write.weight", &write_, c.value_heads, c.hidden, "qkv");
  table.matrix("ssm_decay.weight", &decay_, c.value_heads, c.hidden, "qkv");
  conv_.declare(table);
  table.vector("ssm_dt.bias", &dt_bias_, c.value_heads);
  table.vector("ssm_a", &a_, c.value_heads);
  head_norm_.declare(table);
  table.matrix("ssm_out.weight", &out_, c.hidden, c.values(), "o");
}

WorkspaceWidths GatedDeltaNet::widths() const {
  return {config_.conv_channels(), config_.values(), config_.value_heads, config_.values(), config_.value_heads};
}

void GatedDeltaNet::recur(const LayerPass& pass, const float* qkv, const float* write, const float* decay, float* mixed) const {
  const GatedDeltaConfig& c = config_;
  const int64_t keys = c.key_dim, values = c.value_dim;
  const float q_scale = 1 / std::sqrt(static_cast<float>(keys));
  walk_state(pass, state_, [&](int64_t head, float* state, int64_t first, int64_t rows) {
    thread_local std::vector<float> memory;
    memory.resize(static_cast<size_t>(2 * keys + values));
    float *const q = memory.data(), *const k = q + keys, *const change = k + keys;
    for (int64_t r = first; r < first + rows; ++r) {
      const float* const row = qkv + r * c.conv_channels();
      unit(row + head / c.sharing() * keys, keys, q_scale, q);
      unit(row + c.keys() + head / c.sharing() * keys, keys, 1, k);
      const float* const v = row + 2 * c.keys() + head * values;
      const float keeps = exp_of(a_[head] * softplus_of(decay[r * c.value_heads + head] + dt_bias_[head]));
      const float part = sigmoid_of(write[r * c.value_heads + head]);
      float* const out = mixed + r * c.values() + head * values;
      for (int64_t i = 0; i < values; ++i) change[i] = out[i] = 0;
      for (int64_t j = 0; j < keys; ++j)
        for (int64_t i = 0; i < values; ++i) {
          state[j * values + i] *= keeps;
          change[i] += state[j * values + i] * k[j];
        }
      for (int64_t i = 0; i < values; ++i) change[i] = part * (v[i] - change[i]);
      for (int64_t j = 0; j < keys; ++j)
        for (int64_t i = 0; i < values; ++i) {
          state[j * values + i] += k[j] * change[i];
          out[i] += q[j] * state[j * values + i];
        }
    }
  });
}

bool GatedDeltaNet::mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) {
  const GatedDeltaConfig& c = config_;
  const Ops& ops = pass.ops;
  Workspace& w = pass.w;
  const int64_t n = pass.rows.count(), channels = c.conv_channels();
  float *const qkv = w.q, *const gate = w.k, *const write = w.v, *const decay = w.extra, *const mixed = w.attended;
  const MatmulOut in[] = {{&q_, nullptr, qkv, channels},
                          {&k_, nullptr, qkv + c.keys(), channels},
                          {&v_, nullptr, qkv + 2 * c.keys(), channels},
                          {&gate_, nullptr, gate, c.values()},
                          {&write_, nullptr, write, c.value_heads},
                          {&decay_, nullptr, decay, c.value_heads}};
  ops.matmul({w.x, n, c.hidden, norm}, in);
  conv_.apply(pass, 0, qkv);
  recur(pass, qkv, write, decay, mixed);
  const int64_t rows = pass.outputs();
  if (rows == 0) return false;
  if (pass.wanted != nullptr) {
    gather_rows(mixed, c.values(), *pass.wanted);
    gather_rows(gate, c.values(), *pass.wanted);
  }
  ops.norm(mixed, head_norm_.norm(), rows * c.value_heads, c.value_dim, mixed);
  ops.gate(gate, mixed, rows * c.values(), Activation::silu);
  const MatmulOut out{&out_, nullptr, y, c.hidden, adds};
  ops.matmul({gate, rows, c.values()}, {&out, 1});
  return true;
}

void name_gated_delta_net(TensorNames& names, const GatedDeltaConfig& c, const std::string& at) {
  // A head of keys with its heads of values: q, k, v, z; and b, a.
  const int64_t group = c.sharing(), value_run = group * c.value_dim, stride = 2 * c.key_dim + 2 * value_run;
  const int64_t all = c.key_heads * stride;
  const std::string in = at + ".in_proj_qkvz", rates = at + ".in_proj_ba";
  names.hf("ssm_q", {.name = in, .rows = {0, c.key_dim, stride}, .of_rows = all})
      .hf("ssm_k", {.name = in, .rows = {c.key_dim, c.key_dim, stride}, .of_rows = all})
      .hf("ssm_v", {.name = in, .rows = {2 * c.key_dim, value_run, stride}, .of_rows = all})
      .hf("ssm_z", {.name = in, .rows = {2 * c.key_dim + value_run, value_run, stride}, .of_rows = all});
  for (auto* places : {&names.huggingface, &names.gguf}) {
    const std::string name = places == &names.gguf ? "ssm_ba" : rates;
    (*places)["ssm_write"] = {.name = name, .rows = {0, group, 2 * group}, .of_rows = 2 * c.value_heads};
    (*places)["ssm_decay"] = {.name = name, .rows = {group, group, 2 * group}, .of_rows = 2 * c.value_heads};
  }
  names.gguf["ssm_q"] = {.name = "attn_qkv", .of_rows = c.conv_channels()};
  names.gguf["ssm_k"] = {.name = "attn_qkv", .rows = {c.keys()}, .of_rows = c.conv_channels()};
  names.gguf["ssm_v"] = {.name = "attn_qkv", .rows = {2 * c.keys()}, .of_rows = c.conv_channels()};
  names.gguf["ssm_z"] = {.name = "attn_gate"};
  names.hf("ssm_conv1d.weight", {.name = at + ".conv1d.weight", .shape = {c.conv_channels(), 1, c.taps}});
  names.gguf["ssm_conv1d.weight"] = {.name = "ssm_conv1d.weight", .shape = {c.conv_channels(), c.taps}};
  names.hf("ssm_a", {.name = at + ".A_log", .log_of_minus = true})
      .hf("ssm_dt.bias", {at + ".dt_bias"})
      .hf("ssm_norm", {at + ".norm"})
      .hf("ssm_out", {at + ".out_proj"});
}

}  // namespace sluice
