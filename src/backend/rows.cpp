// Ops: norms, rotary embedding and element-wise work, cut into ranges of rows or values.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "backend/op_meter.h"
#include "backend/op_table.h"
#include "backend/ops.h"
#include "backend/products.h"
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

// cos and sin of every row's angles.
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

// All layers of a step, or those with a window and those without, rotate q and k by the same angles: so the last two tables are
// kept.
struct RopeTables {
  RopeTable tables[2];
  int last = 0;  // used

  const RopeTable& of(ThreadPool& pool, std::span<const int32_t> p, std::span<const float> f, float m) {
    if (tables[last].serves(p, f, m)) return tables[last];
    last = 1 - last;
    if (!tables[last].serves(p, f, m)) tables[last].fill(pool, p, f, m);
    return tables[last];
  }
};

}  // namespace

void Ops::norm(const float* x, const Norm& norm, int64_t rows, int64_t cols, float* out) const {
  CHECK(norm.kind != Norm::Kind::none, "a norm of no kind");
  const OpTimer timer(meter_, [&] { return values_work("norm", rows * cols, 2, 4); });
  over_ranges(pool_, rows, 2 * cols, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float step = norm_row(table_, norm, x + row * cols, cols, out + row * cols);
      for (int64_t i = 0; step != 1 && i < cols; ++i) out[row * cols + i] *= step;
    }
  });
}

void Ops::rope(float* x, std::span<const int32_t> positions, std::span<const float> inv_freq, float magnitude,
               int heads, int head_dim, int rotary_dims, RopeStyle style, int offset) const {
  const OpTimer timer(
      meter_, [&] { return values_work("rope", static_cast<int64_t>(positions.size()) * heads * rotary_dims, 2, 3); });
  const int pairs = rotary_dims / 2;
  CHECK(rotary_dims % 2 == 0 && offset >= 0 && offset + rotary_dims <= head_dim &&
            static_cast<size_t>(pairs) <= inv_freq.size(),
        "{} rotary dims from {} on in heads of {}, with {} frequencies", rotary_dims, offset, head_dim, inv_freq.size());
  static thread_local RopeTables tables;
  const RopeTable& table =  // the caller's, in every worker
      tables.of(pool_, positions, inv_freq.first(static_cast<size_t>(pairs)), magnitude);
  const int64_t row_values = static_cast<int64_t>(heads) * head_dim;
  over_ranges(pool_, static_cast<int64_t>(positions.size()), row_values, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* cos = table.values.data() + 2 * row * pairs;
      table_.row->rope(
          {x + row * row_values + offset, heads, head_dim, pairs, style == RopeStyle::interleaved, cos, cos + pairs});
    }
  });
}

void Ops::activate(float* x, int64_t count, Activation act) const {
  ActivateFn* const f = table_.row->activate[static_cast<size_t>(act)];
  CHECK(f != nullptr, "an activation of a gate and another value, where there is no gate");
  const OpTimer timer(meter_, [&] { return values_work("activation", count, 2, 4); });
  over_ranges(pool_, count, 4, [&](int64_t begin, int64_t end) { f(x + begin, end - begin); });
}

void Ops::gate(float* gate, const float* up, int64_t count, Activation act, const SwigluParams& swiglu) const {
  GateFn* const f = table_.row->gate[static_cast<size_t>(act)];
  const OpTimer timer(meter_, [&] { return values_work("gate", count, 3, 5); });
  over_ranges(pool_, count, 4, [&](int64_t begin, int64_t end) { f(gate + begin, up + begin, end - begin, swiglu); });
}

void Ops::add(float* x, const float* y, int64_t count) const {
  const OpTimer timer(meter_, [&] { return values_work("add", count, 3, 1); });
  over_ranges(pool_, count, 1, [&](int64_t begin, int64_t end) { table_.row->add(x + begin, y + begin, end - begin); });
}

void Ops::add_scaled(float* x, const float* y, float scale, int64_t count) const {
  const OpTimer timer(meter_, [&] { return values_work("add", count, 3, 2); });
  over_ranges(pool_, count, 1,
              [&](int64_t begin, int64_t end) { table_.row->add_scaled(x + begin, y + begin, scale, end - begin); });
}

void Ops::scale(float* x, float scale, int64_t count) const {
  const OpTimer timer(meter_, [&] { return values_work("scale", count, 2, 1); });
  over_ranges(pool_, count, 1, [&](int64_t begin, int64_t end) { table_.row->scale(x + begin, scale, end - begin); });
}

void Ops::softcap(float* x, float cap, int64_t count) const {
  CHECK(cap > 0, "values are capped at {}", cap);
  const OpTimer timer(meter_, [&] { return values_work("softcap", count, 2, 5); });
  over_ranges(pool_, count, 4, [&](int64_t begin, int64_t end) { table_.row->softcap(x + begin, cap, end - begin); });
}

}  // namespace sluice
