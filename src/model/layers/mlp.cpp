#include "model/layers/mlp.h"

#include <algorithm>

namespace sluice {

void MlpLayer::declare(TensorTable& table) {
  const MlpConfig& c = config_;
  const auto part = [&](std::string_view name, PackedMatrix* matrix, const float** bias, int64_t n, int64_t k, std::string_view role) {
    const std::string key = fmt::format("ffn_{}{}", name, c.suffix);
    table.matrix(key + ".weight", matrix, n, k, role);
    table.vector(key + ".bias", bias, n, c.bias);
  };
  if (c.gated) part("gate", &gate_, &gate_bias_, c.ffn, c.hidden, "gate, up");
  part("up", &up_, &up_bias_, c.ffn, c.hidden, "gate, up");
  hidden_norm_.declare(table);
  part("down", &down_, &down_bias_, c.hidden, c.ffn, "down");
}

void MlpLayer::apply(const Ops& ops, const float* x, int64_t rows, const Norm& norm, float* y, bool adds) {
  if (config_.gate_scale != 1 || config_.down_scale != 1) return apply_scaled(ops, {x, rows, config_.hidden, norm}, y, adds);
  Mlp mlp{config_.gated ? &gate_ : nullptr, &up_, &down_, gate_bias_, up_bias_, down_bias_, config_.act};
  mlp.adds = adds;
  mlp.hidden_norm = hidden_norm_.norm();
  ops.mlp({x, rows, config_.hidden, norm}, mlp, y);
}

void MlpLayer::apply_scaled(const Ops& ops, const MatmulIn& in, float* y, bool adds) {
  const MlpConfig& c = config_;
  const int64_t hidden_values = in.rows * c.ffn, values = in.rows * c.hidden;
  gate_out_.resize(static_cast<size_t>(hidden_values)), up_out_.resize(gate_out_.size()), down_out_.resize(static_cast<size_t>(values));
  const MatmulOut outs[] = {{&gate_, gate_bias_, gate_out_.data(), c.ffn}, {&up_, up_bias_, up_out_.data(), c.ffn}};
  ops.matmul(in, outs);
  ops.scale(gate_out_.data(), c.gate_scale, hidden_values);
  ops.gate(gate_out_.data(), up_out_.data(), hidden_values, c.act);
  const MatmulOut down{&down_, down_bias_, down_out_.data(), c.hidden};
  ops.matmul({gate_out_.data(), in.rows, c.ffn}, {&down, 1});
  if (!adds) std::fill_n(y, values, 0.0f);
  ops.add_scaled(y, down_out_.data(), c.down_scale, values);
}

}  // namespace sluice
