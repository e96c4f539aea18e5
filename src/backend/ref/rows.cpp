// The portable row kernels, and attention as plain loops: the statement of the arithmetic that the other ISAs repeat.

#include <cmath>
#include <cstring>

#include "backend/row_ops.h"
#include "tensor/dtype.h"

namespace sluice {
namespace {

#include "backend/cpu/row_kernels.inc"

float element(const uint8_t* row, int64_t i, KvElem elem) {
  if (elem == KvElem::f32) {
    float value;
    std::memcpy(&value, row + 4 * i, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, row + 2 * i, 2);
  return elem == KvElem::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
}

// Row of K or V (base) at a position.
const uint8_t* kv_row(const AttendTile& a, const uint8_t* base, int64_t pos, int64_t row_bytes) {
  const int64_t block = pos / a.block_tokens, offset = pos - block * a.block_tokens;
  return base + static_cast<int64_t>(a.blocks[block]) * a.block_bytes + offset * row_bytes;
}

void kv_encode(const float* x, int64_t count, KvElem elem, uint8_t* out) {
  for (int64_t i = 0; i < count; ++i) {
    if (elem == KvElem::f32) {
      std::memcpy(out + 4 * i, x + i, 4);
    } else {
      const uint16_t bits = elem == KvElem::f16 ? f32_to_f16(x[i]) : f32_to_bf16(x[i]);
      std::memcpy(out + 2 * i, &bits, 2);
    }
  }
}

void attend_tile(const AttendTile& a) {
  const int64_t row_bytes = static_cast<int64_t>(a.head_dim) * (a.elem == KvElem::f32 ? 4 : 2);
  const int64_t start = a.tile * kSuperTile;
  for (int n = 0; n < a.rows * a.group; ++n) {
    const float* q = a.q + n / a.group * a.row_stride + static_cast<int64_t>(n % a.group) * a.head_dim;
    const Interval see = visible(a, n / a.group);
    float* o = a.part.o + static_cast<int64_t>(n) * padded_dim(a.head_dim);
    a.part.m[n] = -INFINITY;
    a.part.l[n] = 0;
    for (int d = 0; d < padded_dim(a.head_dim); ++d) o[d] = 0;
    if (see.lo == see.hi) continue;
    float scores[kSuperTile];
    float top = -INFINITY;
    for (int t = see.lo; t < see.hi; ++t) {
      const uint8_t* k = kv_row(a, a.k, start + t, row_bytes);
      float sum = 0;
      for (int d = 0; d < a.head_dim; ++d) sum = std::fma(q[d], element(k, d, a.elem), sum);
      scores[t] = sum;
      top = top > sum ? top : sum;
    }
    const float m = top * a.scale;
    float lanes[kLanes] = {};
    for (int t = see.lo; t < see.hi; ++t) {
      scores[t] = exp_scalar(std::fma(scores[t], a.scale, -m));
      lanes[t % kLanes] += scores[t];
    }
    for (int width = kLanes / 2; width > 0; width /= 2)
      for (int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
    for (int t = see.lo; t < see.hi; ++t) {
      const uint8_t* v = kv_row(a, a.v, start + t, row_bytes);
      for (int d = 0; d < a.head_dim; ++d) o[d] = std::fma(scores[t], element(v, d, a.elem), o[d]);
    }
    a.part.m[n] = m;
    a.part.l[n] = lanes[0];
  }
}

}  // namespace

const RowOps kRefRowOps = {attend_tile, attend_merge, attend_finish, rms_norm, rope, silu_mul, add, kv_encode};

}  // namespace sluice
