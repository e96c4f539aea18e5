#include "model/layers/group_norm.h"

namespace sluice {

void GroupNorm::apply(const Ops& ops, float* x, int64_t rows) const {
  const Norm own = tensors_.norm();
  if (groups_ == 1) return ops.norm(x, own, rows, width_, x);
  Norm plain = own;
  plain.gain = plain.bias = nullptr;
  ops.norm(x, plain, rows * groups_, width_, x);
  const int64_t all = groups_ * width_;
  each_row(ops, rows, all, [&](int64_t r) {
    float* const row = x + r * all;
    if (own.gain != nullptr)
      for (int64_t i = 0; i < all; ++i) row[i] *= own.gain[i];
    if (own.bias != nullptr)
      for (int64_t i = 0; i < all; ++i) row[i] += own.bias[i];
  });
}

}  // namespace sluice
