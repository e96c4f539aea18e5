#include "model/layers/mlp.h"

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
  Mlp mlp{config_.gated ? &gate_ : nullptr, &up_, &down_, gate_bias_, up_bias_, down_bias_, config_.act};
  mlp.adds = adds;
  mlp.hidden_norm = hidden_norm_.norm();
  ops.mlp({x, rows, config_.hidden, norm}, mlp, y);
}

}  // namespace sluice
