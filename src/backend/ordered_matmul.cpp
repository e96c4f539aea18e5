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
  if (in.norm_gain != nullptr) {
    normed.resize(static_cast<size_t>(in.rows * in.k));
    ops.rms_norm(in.x, in.norm_gain, in.norm_eps, in.rows, in.k, normed.data());
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

}  // namespace sluice
