#include "backend/ordered_matmul.h"

#include <algorithm>
#include <vector>

namespace sluice {

bool has_order(std::span<const MatmulOut> outs) {
  return std::ranges::any_of(outs, [](const MatmulOut& o) { return o.w->order != nullptr; });
}

void ordered_matmul(const Ops& ops, const MatmulIn& in, std::span<const MatmulOut> outs) {
  static thread_local std::vector<float> normed, gathered;
  MatmulIn plain{in.x, in.rows, in.k};
  CHECK(!in.norm.int8, "rows of int8 for a matrix whose columns stand in another order");
  if (in.norm.kind != Norm::Kind::none) {
    normed.resize(static_cast<size_t>(in.rows * in.k));
    ops.norm(in.x, in.norm, in.rows, in.k, normed.data());
    plain.x = normed.data();
  }
  std::vector<const int32_t*> orders;
  for (const MatmulOut& o : outs)
    if (std::ranges::find(orders, o.w->order) == orders.end()) orders.push_back(o.w->order);
  for (const int32_t* const order : orders) {
    std::vector<PackedMatrix> matrices;
    std::vector<MatmulOut> same;
    matrices.reserve(outs.size());
    for (const MatmulOut& o : outs) {
      if (o.w->order != order) continue;
      matrices.push_back(*o.w);
      matrices.back().order = nullptr;
      same.push_back(o);
      same.back().w = &matrices.back();
    }
    MatmulIn rows = plain;
    if (order != nullptr) {
      gathered.resize(static_cast<size_t>(in.rows * in.k));
      float* const all = gathered.data();  // this thread's
      ops.pool().run(static_cast<int>(in.rows), [&](int r, int) {
        const float* const from = plain.x + r * in.k;
        float* const to = all + r * in.k;
        for (int64_t j = 0; j < in.k; ++j) to[j] = from[order[j]];
      });
      rows.x = all;
    }
    ops.matmul(rows, same);
  }
}

bool has_order(const Mlp& mlp) {
  return (mlp.gate != nullptr && mlp.gate->order != nullptr) || mlp.up->order != nullptr || mlp.down->order != nullptr;
}

void stepwise_mlp(const Ops& ops, const MatmulIn& in, const Mlp& mlp, float* y) {
  static thread_local std::vector<float> first, second;
  const int64_t hidden = mlp.up->n, count = in.rows * hidden;
  first.resize(static_cast<size_t>(count));
  std::vector<MatmulOut> outs{{mlp.up, mlp.up_bias, first.data(), hidden}};
  if (mlp.gate != nullptr) {
    second.resize(static_cast<size_t>(count));
    outs.push_back({mlp.gate, mlp.gate_bias, second.data(), hidden});
  }
  ops.matmul(in, outs);
  if (mlp.gate != nullptr)
    ops.gate(second.data(), first.data(), count, mlp.act, mlp.swiglu);
  else
    ops.activate(first.data(), count, mlp.act);
  const MatmulOut down{mlp.down, mlp.down_bias, y, mlp.down->n, mlp.adds};
  ops.matmul({mlp.gate != nullptr ? second.data() : first.data(), in.rows, hidden, mlp.hidden_norm}, {&down, 1});
}

bool has_order(const Experts& e) {
  const auto any = [](std::span<const PackedMatrix> all) { return std::ranges::any_of(all, [](const PackedMatrix& w) { return w.order != nullptr; }); };
  return any(e.gate) || any(e.up) || any(e.down);
}

void ordered_experts(const Ops& ops, const MatmulIn& in, const Experts& e, const ExpertChoice& choice, float* y, std::span<int64_t> rows_of) {
  const int64_t n = e.down.front().n, hidden = e.up.front().n;
  std::vector<float> normed, outputs(static_cast<size_t>(in.rows * choice.top_k * n)), own(static_cast<size_t>(in.rows * in.k)), result(static_cast<size_t>(in.rows * n));
  const float* x = in.x;
  if (in.norm.kind != Norm::Kind::none) {
    normed.resize(static_cast<size_t>(in.rows * in.k));
    ops.norm(in.x, in.norm, in.rows, in.k, normed.data());
    x = normed.data();
  }
  for (size_t expert = 0; expert < e.up.size(); ++expert) {
    std::vector<int64_t> pairs;
    for (int64_t pair = 0; pair < in.rows * choice.top_k; ++pair)
      if (choice.ids[pair] == static_cast<int32_t>(expert)) pairs.push_back(pair);
    if (pairs.empty()) continue;
    if (!rows_of.empty()) rows_of[expert] += static_cast<int64_t>(pairs.size());
    for (size_t i = 0; i < pairs.size(); ++i) std::copy_n(x + pairs[i] / choice.top_k * in.k, in.k, own.data() + static_cast<int64_t>(i) * in.k);
    const auto at = static_cast<int64_t>(expert);
    const auto bias = [&](const float* all, int64_t width) { return all != nullptr ? all + at * width : nullptr; };
    Mlp mlp{e.gate.empty() ? nullptr : &e.gate[expert], &e.up[expert], &e.down[expert], bias(e.gate_bias, hidden), bias(e.up_bias, hidden),
            bias(e.down_bias, n), e.act, e.swiglu, false};
    ops.mlp({own.data(), static_cast<int64_t>(pairs.size()), in.k}, mlp, result.data());
    for (size_t i = 0; i < pairs.size(); ++i) std::copy_n(result.data() + static_cast<int64_t>(i) * n, n, outputs.data() + pairs[i] * n);
  }
  for (int64_t row = 0; row < in.rows; ++row) {
    if (!e.adds) std::fill_n(y + row * n, n, 0.0f);
    for (int k = 0; k < choice.top_k; ++k)
      ops.add_scaled(y + row * n, outputs.data() + (row * choice.top_k + k) * n, choice.weights[row * choice.top_k + k], n);
  }
}

}  // namespace sluice
