// Ops: norms, rotary embedding and element-wise work, cut into ranges of rows or values.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "backend/op_meter.h"
#include "backend/op_table.h"
#include "backend/ops.h"
#include "backend/row_ops.h"
#include "base/check.h"

namespace sluice {
namespace {

constexpr int64_t kTaskValues = 16384;  // less work than this per task is not worth waking a thread

// f(begin, end) over [0, items), in ranges of about kTaskValues values.
template <class F>
void over_ranges(ThreadPool& pool, int64_t items, int64_t values_per_item, F f) {
  const int64_t step = std::max<int64_t>(1, kTaskValues / std::max<int64_t>(1, values_per_item));
  pool.run(static_cast<int>((items + step - 1) / step),
           [&](int task, int) { f(task * step, std::min(items, (task + 1) * step)); });
}

// cos and sin of every row's angles. All layers of a step rotate q and k by the same angles, so the last table is kept.
struct RopeTable {
  std::vector<int32_t> positions;
  std::vector<float> inv_freq;
  float magnitude = 0;
  std::vector<float> values;  // [rows][2][pairs]: cos, then sin

  bool serves(std::span<const int32_t> p, std::span<const float> f, float m) const {
    return m == magnitude && std::ranges::equal(p, positions) && std::ranges::equal(f, inv_freq);
  }

  void fill(ThreadPool& pool, std::span<const int32_t> p, std::span<const float> f, float m) {
    positions.assign(p.begin(), p.end());
    inv_freq.assign(f.begin(), f.end());
    magnitude = m;
    values.resize(2 * p.size() * f.size());
    constexpr int64_t kSinCost = 32;  // of a value, in units of a multiplication
    over_ranges(pool, static_cast<int64_t>(p.size()), kSinCost * static_cast<int64_t>(f.size()),
                [&](int64_t begin, int64_t end) {
                  for (int64_t row = begin; row < end; ++row) {
                    float* cos = values.data() + 2 * static_cast<size_t>(row) * f.size();
                    float* sin = cos + f.size();
                    for (size_t i = 0; i < f.size(); ++i) {
                      // The angle is rounded to float32, as the models were trained with; its cosine and sine are then
                      // exact.
                      const double angle = static_cast<double>(static_cast<float>(p[static_cast<size_t>(row)]) * f[i]);
                      cos[i] = static_cast<float>(std::cos(angle)) * m;
                      sin[i] = static_cast<float>(std::sin(angle)) * m;
                    }
                  }
                });
  }
};

}  // namespace

void Ops::rms_norm(const float* x, const float* gain, float eps, int64_t rows, int64_t cols, float* out) const {
  const OpTimer timer(meter_, [&] { return values_work("norm", rows * cols, 2, 4); });
  over_ranges(pool_, rows, 2 * cols, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) table_.row->rms_norm(x + row * cols, gain, eps, cols, out + row * cols);
  });
}

void Ops::rope(float* x, std::span<const int32_t> positions, std::span<const float> inv_freq, float magnitude,
               int heads, int head_dim, int rotary_dims, RopeStyle style) const {
  const OpTimer timer(
      meter_, [&] { return values_work("rope", static_cast<int64_t>(positions.size()) * heads * rotary_dims, 2, 3); });
  const int pairs = rotary_dims / 2;
  CHECK(rotary_dims % 2 == 0 && rotary_dims <= head_dim && static_cast<size_t>(pairs) <= inv_freq.size(),
        "{} rotary dims in heads of {}, with {} frequencies", rotary_dims, head_dim, inv_freq.size());
  static thread_local RopeTable tables;
  RopeTable& table = tables;  // the caller's, in every worker
  const auto frequencies = inv_freq.first(static_cast<size_t>(pairs));
  if (!table.serves(positions, frequencies, magnitude)) table.fill(pool_, positions, frequencies, magnitude);
  const int64_t row_values = static_cast<int64_t>(heads) * head_dim;
  over_ranges(pool_, static_cast<int64_t>(positions.size()), row_values, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* cos = table.values.data() + 2 * row * pairs;
      table_.row->rope(
          {x + row * row_values, heads, head_dim, pairs, style == RopeStyle::interleaved, cos, cos + pairs});
    }
  });
}

void Ops::silu_mul(float* gate, const float* up, int64_t count) const {
  const OpTimer timer(meter_, [&] { return values_work("silu * up", count, 3, 5); });
  over_ranges(pool_, count, 4,
              [&](int64_t begin, int64_t end) { table_.row->silu_mul(gate + begin, up + begin, end - begin); });
}

}  // namespace sluice
