#include "model/layers/moe.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

namespace sluice {

MoeLayer::MoeLayer(MoeConfig config) : config_(std::move(config)), expert_rows_(static_cast<size_t>(config_.routing.experts)), counts_(expert_rows_.size()) {
  if (config_.shared_ffn > 0)
    shared_ = std::make_unique<MlpLayer>(MlpConfig{.hidden = config_.hidden, .ffn = config_.shared_ffn, .act = config_.act, .gated = config_.gated, .suffix = "_shexp"});
}

void MoeLayer::declare(TensorTable& table) {
  const MoeConfig& c = config_;
  const int experts = c.routing.experts;
  table.matrix("ffn_gate_inp.weight", &router_, experts, c.hidden, "router");
  table.vector("ffn_gate_inp.bias", &router_bias_, experts, c.router_bias);
  table.vector("exp_probs_b.bias", &selection_bias_, experts, c.selection_bias);
  if (c.gated) table.experts("ffn_gate_exps.weight", &gate_, experts, c.ffn, c.hidden, "gate, up");
  table.experts("ffn_up_exps.weight", &up_, experts, c.ffn, c.hidden, "gate, up");
  table.experts("ffn_down_exps.weight", &down_, experts, c.hidden, c.ffn, "down");
  if (c.gated) table.expert_vectors("ffn_gate_exps.bias", &gate_bias_, experts, c.ffn, c.expert_bias);
  table.expert_vectors("ffn_up_exps.bias", &up_bias_, experts, c.ffn, c.expert_bias);
  table.expert_vectors("ffn_down_exps.bias", &down_bias_, experts, c.hidden, c.expert_bias);
  if (shared_ == nullptr) return;
  if (c.shared_gate) table.matrix("ffn_gate_inp_shexp.weight", &shared_gate_, 1, c.hidden, "router");
  shared_->declare(table);
}

void MoeLayer::apply(const Ops& ops, const float* x, int64_t rows, const Norm& norm, float* y, bool adds) {
  const MoeConfig& c = config_;
  const auto choices = static_cast<size_t>(rows * c.routing.top_k);
  logits_.resize(static_cast<size_t>(rows * c.routing.experts));
  weights_.resize(choices), ids_.resize(choices);
  const MatmulIn in{x, rows, c.hidden, norm};
  const MatmulOut router{&router_, router_bias_, logits_.data(), c.routing.experts};
  ops.matmul(in, {&router, 1});
  Routing routing = c.routing;
  routing.selection_bias = selection_bias_;
  ops.route(logits_.data(), rows, routing, ids_.data(), weights_.data());
  const Experts experts{gate_, up_, down_, gate_bias_, up_bias_, down_bias_, c.act, c.swiglu, adds};
  // y may be x: what the shared expert reads must be there still.
  if (shared_ != nullptr) {
    shared_out_.resize(static_cast<size_t>(rows * c.hidden));
    add_shared(ops, x, rows, norm, shared_out_.data());
  }
  if (c.weighs_input) {
    weighed_.resize(static_cast<size_t>(rows * c.hidden));
    ops.norm(x, norm, rows, c.hidden, weighed_.data());
    for (int64_t r = 0; r < rows; ++r) ops.scale(weighed_.data() + r * c.hidden, weights_[static_cast<size_t>(r)], c.hidden);
    std::ranges::fill(weights_, 1.0f);
    ops.experts({weighed_.data(), rows, c.hidden}, experts, {ids_.data(), weights_.data(), c.routing.top_k}, y, counts_);
  } else {
    ops.experts(in, experts, {ids_.data(), weights_.data(), c.routing.top_k}, y, counts_);
  }
  for (size_t e = 0; e < counts_.size(); ++e)  // which others read meanwhile
    if (counts_[e] != 0) std::atomic_ref<int64_t>(expert_rows_[e]).fetch_add(std::exchange(counts_[e], 0), std::memory_order_relaxed);
  if (shared_ != nullptr) ops.add(y, shared_out_.data(), rows * c.hidden);
}

void MoeLayer::add_shared(const Ops& ops, const float* x, int64_t rows, const Norm& norm, float* y) {
  shared_->apply(ops, x, rows, norm, y, false);
  if (!config_.shared_gate) return;
  logits_.resize(std::max(logits_.size(), static_cast<size_t>(rows)));
  const MatmulOut gate{&shared_gate_, nullptr, logits_.data(), 1};
  ops.matmul({x, rows, config_.hidden, norm}, {&gate, 1});
  for (int64_t r = 0; r < rows; ++r)
    ops.scale(y + r * config_.hidden, 1 / (1 + std::exp(-logits_[static_cast<size_t>(r)])), config_.hidden);
}

void name_experts(TensorNames& names, std::string_view at) {
  const auto place = [&](std::string_view rest) { return Place{fmt::format("model.layers.{{}}.{}.{}", at, rest)}; };
  names.hf("ffn_gate_inp", place("gate"))
      .hf("ffn_gate_exps", place("experts.{e}.gate_proj"))
      .hf("ffn_up_exps", place("experts.{e}.up_proj"))
      .hf("ffn_down_exps", place("experts.{e}.down_proj"));
}

}  // namespace sluice
