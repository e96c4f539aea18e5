#pragma once
// A mixer alone, with random weights, and what its other forms are written with: products, norms and sums in chunks, in float64.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>

#include "model/layers/state_rows.h"
#include "tests/support/memory_source.h"
#include "tests/support/model_harness.h"

namespace sluice::test {

constexpr int64_t kRows = 75, kChunk = 16;  // the last chunk is short
constexpr double kTolerance = 1e-4;

using Matrix = std::vector<double>;  // row-major

/// A mixer of random weights, outside any model.
class OneMixer {
 public:
  OneMixer(const TensorNames& names, Mixer& mixer, const std::vector<std::pair<std::string, Shape>>& tensors)
      : pool_(2), ops_(**select_op_table(test::float32_isas().at(0)), pool_), mixer_(mixer) {
    source_ = std::make_shared<test::MemorySource>(Metadata(MetadataKind::gguf, "random"));
    Rng rng(7);
    for (const auto& [name, shape] : tensors) {
      const double scale = shape.rank == 2 ? 1 / std::sqrt(static_cast<double>(shape[1])) : 0.5;
      std::vector<float> values(static_cast<size_t>(shape.elems()));
      for (float& v : values) v = static_cast<float>(rng.next_normal() * scale);
      if (name == "ssm_a")
        for (float& v : values) v = -std::exp(v);
      if (name == "time_mix_decay.weight")
        for (float& v : values) v -= 2;  // a chunk still reads the one before it
      source_->add("blk.0." + name, shape, values);
    }
    store_ = std::make_unique<WeightStore>(source_, ops_);
    TensorTable table(names, *source_);
    table.at_layer(0);
    mixer.declare(table);
    const auto ok = [](const Status& status) { EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().message); };
    ok(table.check(1, "test"));
    ok(table.load(*store_));
    ok(mixer.prepare(*store_));
  }

  /// A tensor's values.
  Matrix operator[](const std::string& name) const {
    const TensorInfo* info = source_->find("blk.0." + name);
    const auto* values = static_cast<const float*>(source_->view(*info).data);
    return Matrix(values, values + info->shape.elems());
  }

  /// Its output [rows, hidden] of rows x, step by step in blocks of 5.
  std::vector<float> run(const std::vector<float>& x, int64_t hidden, const Norm& norm = {}) {
    const int64_t rows = static_cast<int64_t>(x.size()) / hidden;
    Workspace w = std::move(Workspace::allocate(hidden, mixer_.widths(), rows)).value();
    std::copy(x.begin(), x.end(), w.x);
    KvLayerView kv;
    kv.block_tokens = 5;
    kv.state_bytes = mixer_.kv().state_bytes;
    std::vector<BlockId> blocks(static_cast<size_t>(rows / kv.block_tokens + 1));
    std::iota(blocks.begin(), blocks.end(), BlockId{0});
    std::vector<float> states(blocks.size() * kv.state_bytes / sizeof(float), NAN);  // what nobody has written nobody may read
    kv.k = kv.v = reinterpret_cast<uint8_t*>(states.data());
    std::vector<int32_t> positions(static_cast<size_t>(rows));
    std::iota(positions.begin(), positions.end(), 0);
    const AttendSegment segment{0, static_cast<int>(rows), 0, blocks.data()};
    const LayerRows layer_rows{positions, {{}, {&segment, 1}}};
    const LayerPass pass{ops_, w, layer_rows, kv, nullptr, 0, nullptr};
    std::vector<float> y(x.size());
    EXPECT_TRUE(mixer_.mix(pass, norm, y.data(), false));
    return y;
  }

 private:
  ThreadPool pool_;
  Ops ops_;
  Mixer& mixer_;
  std::shared_ptr<test::MemorySource> source_;
  std::unique_ptr<WeightStore> store_;
};

inline std::vector<float> random_rows(int64_t hidden, uint64_t seed = 3) {
  Rng rng(seed);
  std::vector<float> x(static_cast<size_t>(kRows * hidden));
  for (float& v : x) v = static_cast<float>(rng.next_normal());
  return x;
}

/// x[rows, k] times rows [first, first + n) of w[.., k].
inline Matrix product(const Matrix& x, const Matrix& w, int64_t k, int64_t first, int64_t n) {
  const int64_t rows = static_cast<int64_t>(x.size()) / k;
  Matrix out(static_cast<size_t>(rows * n));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < k; ++j) out[static_cast<size_t>(r * n + i)] += x[static_cast<size_t>(r * k + j)] * w[static_cast<size_t>((first + i) * k + j)];
  return out;
}

inline double silu(double x) { return x / (1 + std::exp(-x)); }

inline void expect_near(const std::vector<float>& got, const Matrix& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  double worst = 0, squares = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    worst = std::max(worst, std::fabs(static_cast<double>(got[i]) - wanted[i]));
    squares += wanted[i] * wanted[i];
  }
  EXPECT_GT(std::sqrt(squares / static_cast<double>(got.size())), 0.05) << "nothing is compared";
  EXPECT_LE(worst, kTolerance);
}

using OfRow = std::function<double(int64_t row, int64_t i)>;  // the i-th value of a row of a head

/// One head in chunks: S, of which key n holds `values` values, decays by exp(log_decay[t, n]) before key k[t] takes in value v[t], and
/// q[t] reads what is there then. With a bonus for each key, q[t] reads before the decay, and k[t] bonus v[t] beside it (RWKV).
/// A chunk is (Q K^T * L) V + exp(sums) Q S, and S the sum of what is left of it and of its keys. Returns [kRows, values].
inline Matrix in_chunks(const OfRow& q, const OfRow& k, const OfRow& v, const OfRow& log_decay, int64_t keys, int64_t values,
                        const std::function<double(int64_t key)>& bonus = nullptr) {
  Matrix out(static_cast<size_t>(kRows * values)), state(static_cast<size_t>(keys * values));
  for (int64_t begin = 0; begin < kRows; begin += kChunk) {
    const int64_t end = std::min(kRows, begin + kChunk);
    Matrix sums(static_cast<size_t>(keys));  // of log decays before each row of the chunk, and at its end
    for (int64_t t = begin; t < end; ++t)
      for (int64_t n = 0; n < keys; ++n) sums.push_back(sums[sums.size() - static_cast<size_t>(keys)] + log_decay(t, n));
    const auto until = [&](int64_t t, int64_t n) { return sums[static_cast<size_t>((t - begin) * keys + n)]; };
    for (int64_t t = begin; t < end; ++t) {
      const int64_t read_at = bonus ? t : t + 1;
      const auto left = [&](int64_t s, int64_t n) { return s == read_at ? bonus(n) : std::exp(until(read_at, n) - until(s + 1, n)); };
      for (int64_t i = 0; i < values; ++i) {
        double& y = out[static_cast<size_t>(t * values + i)];
        for (int64_t n = 0; n < keys; ++n) y += std::exp(until(read_at, n)) * q(t, n) * state[static_cast<size_t>(n * values + i)];
        for (int64_t s = begin; s <= t; ++s) {
          double score = 0;
          for (int64_t n = 0; n < keys; ++n) score += q(t, n) * left(s, n) * k(s, n);
          y += score * v(s, i);
        }
      }
    }
    for (int64_t n = 0; n < keys; ++n)
      for (int64_t i = 0; i < values; ++i) {
        double& held = state[static_cast<size_t>(n * values + i)];
        held *= std::exp(until(end, n));
        for (int64_t s = begin; s < end; ++s) held += std::exp(until(end, n) - until(s + 1, n)) * k(s, n) * v(s, i);
      }
  }
  return out;
}

/// Root mean square norm of groups of `width` values.
inline void norm_groups(Matrix& x, int64_t width, double eps) {
  for (size_t at = 0; at < x.size(); at += static_cast<size_t>(width)) {
    double squares = 0;
    for (int64_t i = 0; i < width; ++i) squares += x[at + static_cast<size_t>(i)] * x[at + static_cast<size_t>(i)];
    for (int64_t i = 0; i < width; ++i) x[at + static_cast<size_t>(i)] /= std::sqrt(squares / static_cast<double>(width) + eps);
  }
}

}  // namespace sluice::test
