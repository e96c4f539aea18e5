// The portable row kernels, and attention as plain loops: the statement of the arithmetic that the other ISAs repeat.

#include <cmath>
#include <vector>

#include "backend/row_ops.h"
#include "quant/kv/kv_format.h"

namespace sluice {
namespace {

#include "backend/cpu/row_kernels.inc"

// A position's key or value (base) in float32, in `row`, and its factor.
float decode(const AttendTile& a, const uint8_t* base, int64_t pos, float* row) {
  const int64_t slot = int64_t{a.blocks[pos / a.block_tokens]} * a.block_tokens + pos % a.block_tokens, offset = slot % a.tile_tokens;
  const uint8_t* tile = base + slot / a.tile_tokens * a.tile_stride;
  return kv_format(a.kv_type).decode(tile + offset * a.row_bytes, tile + a.side_offset + offset * a.side_bytes, a.head_dim, row);
}

// Scores to weights, in place; returns l.
float soften(float* scores, Interval see, float scale, float m) {
  float lanes[kLanes] = {};
  for (int t = see.lo; t < see.hi; ++t) {
    scores[t] = exp_scalar(std::fma(scores[t], scale, -m));
    lanes[t % kLanes] += scores[t];
  }
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  return lanes[0];
}

// m of the scores of a query vector and what is still to be multiplied by `scale`, after capping and biasing.
struct Top {
  float m, scale;
};
Top find_top(const AttendTile& a, int n, Interval see, float scale, float* scores) {
  if (bends_scores(a)) {
    bend_scores(a, n / a.group, n % a.group, see, scale, scores);
    scale = 1;
  }
  float top = -INFINITY;
  for (int t = see.lo; t < see.hi; ++t) top = top > scores[t] ? top : scores[t];
  return {top * scale, scale};
}

// One query vector over a format whose rows are integers.
void attend_integers(const AttendTile& a, const float* q, Interval see, int n) {
  const int64_t start = a.tile * kSuperTile;
  std::vector<float> row(static_cast<size_t>(a.head_dim));
  std::vector<int16_t> query(row.size());
  const float scale = a.scale * to_integers(q, a.head_dim, static_cast<float>(query_steps(a.kv_type)), query.data());
  float scores[kSuperTile];
  for (int t = see.lo; t < see.hi; ++t) {
    const float factor = decode(a, a.k, start + t, row.data());
    int32_t sum = 0;
    for (size_t d = 0; d < row.size(); ++d) sum += query[d] * static_cast<int32_t>(row[d]);
    scores[t] = static_cast<float>(sum) * factor;
  }
  const Top top = find_top(a, n, see, scale, scores);
  const float l = soften(scores, see, top.scale, top.m);
  for (int t = see.lo; t < see.hi; ++t) scores[t] *= decode(a, a.v, start + t, row.data());
  int16_t weights[kSuperTile];
  const float step = to_integers(scores + see.lo, see.hi - see.lo, static_cast<float>(weight_steps(a.kv_type)), weights + see.lo);
  std::vector<int32_t> sums(static_cast<size_t>(a.v_dim));
  for (int t = see.lo; t < see.hi; ++t) {
    decode(a, a.v, start + t, row.data());
    for (size_t d = 0; d < sums.size(); ++d) sums[d] += weights[t] * static_cast<int32_t>(row[d]);
  }
  float* o = a.part.o + static_cast<int64_t>(n) * padded_dim(a.head_dim);
  for (size_t d = 0; d < sums.size(); ++d) o[d] = static_cast<float>(sums[d]) * step;
  a.part.m[n] = top.m;
  a.part.l[n] = l;
}

void attend_tile(const AttendTile& a) {
  float* row = a.scratch;  // holds more than head_dim floats
  const int64_t start = a.tile * kSuperTile;
  for (int n = 0; n < a.rows * a.group; ++n) {
    const float* q = row_queries(a, n / a.group) + static_cast<int64_t>(n % a.group) * a.head_dim;
    const Interval see = visible(a, n / a.group);
    float* o = a.part.o + static_cast<int64_t>(n) * padded_dim(a.head_dim);
    a.part.m[n] = -INFINITY;
    a.part.l[n] = 0;
    for (int d = 0; d < padded_dim(a.head_dim); ++d) o[d] = 0;
    if (see.lo == see.hi) continue;
    if (integer_rows(a.kv_type)) {
      attend_integers(a, q, see, n);
      continue;
    }
    float scores[kSuperTile];
    for (int t = see.lo; t < see.hi; ++t) {
      const float factor = decode(a, a.k, start + t, row);
      float sum = 0;
      for (int d = 0; d < a.head_dim; ++d) sum = std::fma(q[d], row[d], sum);
      scores[t] = sum * factor;
    }
    const Top top = find_top(a, n, see, a.scale, scores);
    const float l = soften(scores, see, top.scale, top.m);
    for (int t = see.lo; t < see.hi; ++t) {
      const float weight = scores[t] * decode(a, a.v, start + t, row);
      for (int d = 0; d < a.v_dim; ++d) o[d] = std::fma(weight, row[d], o[d]);
    }
    a.part.m[n] = top.m;
    a.part.l[n] = l;
  }
}

}  // namespace

constinit const RowOps kRefRowOps = [] {
  RowOps ops = plain_row_ops();
  for (AttendTileFn*& f : ops.attend_tile) f = attend_tile;
  return ops;
}();

}  // namespace sluice
