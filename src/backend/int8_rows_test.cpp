// Rows rounded to int8, ReLUs of norms, scaled matrices and norms of hidden values: each against float64, in every form that kernels
// read, with equal bits on every table and for a row alone.

#include "backend/int8_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "backend/op_table.h"
#include "backend/ops.h"
#include "base/rng.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr int64_t kK = 512, kN = 40, kRows = 21;
constexpr DType kTypes[] = {DType::f32, DType::f16, DType::q8_0, DType::tq2_0};

std::vector<float> normals(uint64_t seed, int64_t n) {
  Rng rng(seed);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = static_cast<float>(rng.next_normal());
  return x;
}

std::vector<float> ternary(uint64_t seed, int64_t n) {
  Rng rng(seed);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = static_cast<float>(static_cast<int>(rng.below(3)) - 1);
  return x;
}

/// A matrix of a type, packed, and the values that it holds.
struct RowWeights {
  RowWeights(const Ops& ops, DType dtype, int64_t n, int64_t k, uint64_t seed, float scale) {
    const WeightFormat& format = *weight_format(dtype);
    const std::vector<float> source = ternary(seed, n * k);
    blocks.resize(row_bytes(dtype, n * k));
    values.resize(source.size());
    format.encode(source.data(), blocks.data(), n * k);
    format.decode(blocks.data(), values.data(), n * k);
    packed.resize(Ops::packed_bytes(dtype, n, k));
    ops.pack({blocks.data(), dtype, {n, k}}, packed.data());
    matrix = {dtype, n, k, packed.data()};
    matrix.scale = scale;
  }
  std::vector<uint8_t> blocks, packed;
  std::vector<float> values;
  PackedMatrix matrix;
};

/// As a model's formulation has it, but for the norm itself, which is another test's.
std::vector<double> rounded(const Ops& ops, const std::vector<float>& x, Norm norm, int64_t cols) {
  std::vector<float> normed(x.size());
  const bool relu = norm.relu;
  norm.relu = norm.int8 = false;
  ops.norm(x.data(), norm, static_cast<int64_t>(x.size()) / cols, cols, normed.data());
  std::vector<double> out(x.size());
  for (size_t row = 0; row < x.size(); row += static_cast<size_t>(cols)) {
    float largest = 0;
    for (size_t i = row; i < row + static_cast<size_t>(cols); ++i) {
      if (relu) normed[i] = std::max(normed[i], 0.0f);
      largest = std::max(largest, std::fabs(normed[i]));
    }
    for (size_t i = row; i < row + static_cast<size_t>(cols); ++i)
      out[i] = std::nearbyint(normed[i] * (127.0f / largest)) * (static_cast<double>(largest) / 127);
  }
  return out;
}

double product(const std::vector<double>& x, int64_t row, const RowWeights& w, int64_t column, int64_t k) {
  double sum = 0;
  for (int64_t i = 0; i < k; ++i) sum += x[static_cast<size_t>(row * k + i)] * w.values[static_cast<size_t>(column * k + i)];
  return sum * w.matrix.scale;
}

template <class F>
void on_every_table(F f) {
  for (const OpTable* table : op_tables()) {
    if (!table->lacks().empty()) continue;
    ThreadPool pool(2);
    f(Ops(*table, pool), table->isa);
  }
}

TEST(Int8Rows, ProductsOfNormedRows) {
  const std::vector<float> x = normals(1, kRows * kK), gain = normals(2, kK), shift = normals(3, kK);
  for (const bool relu : {false, true})
    for (const DType dtype : kTypes) {
      const Norm norm{Norm::Kind::rms, gain.data(), shift.data(), 1e-5f, relu, true};
      std::vector<float> first;
      on_every_table([&](const Ops& ops, std::string_view isa) {
        const RowWeights w(ops, dtype, kN, kK, 4, 0.37f);
        const std::vector<double> rows = rounded(ops, x, norm, kK);
        std::vector<float> y(static_cast<size_t>(kRows * kN)), alone(static_cast<size_t>(kN));
        const MatmulOut out{&w.matrix, nullptr, y.data(), kN};
        ops.matmul({x.data(), kRows, kK, norm}, {&out, 1});
        for (int64_t r = 0; r < kRows; ++r)
          for (int64_t c = 0; c < kN; ++c)
            ASSERT_NEAR(y[static_cast<size_t>(r * kN + c)], product(rows, r, w, c, kK), 1e-4) << isa << ", " << dtype_name(dtype) << " row " << r;
        const MatmulOut one{&w.matrix, nullptr, alone.data(), kN};
        ops.matmul({x.data() + 5 * kK, 1, kK, norm}, {&one, 1});
        EXPECT_EQ(std::memcmp(alone.data(), y.data() + 5 * kN, sizeof(float) * kN), 0) << isa << ", " << dtype_name(dtype);
        if (first.empty()) first = y;
        EXPECT_EQ(std::memcmp(first.data(), y.data(), sizeof(float) * y.size()), 0) << isa << ", " << dtype_name(dtype);
      });
    }
}

TEST(Int8Rows, ReluOfANormAlone) {
  const std::vector<float> x = normals(1, kRows * kK), gain = normals(2, kK), shift(kK, -1);
  const Norm plain{Norm::Kind::rms, gain.data(), shift.data(), 1e-5f}, relu{Norm::Kind::rms, gain.data(), shift.data(), 1e-5f, true};
  on_every_table([&](const Ops& ops, std::string_view isa) {
    std::vector<float> want(x.size()), got(x.size());
    ops.norm(x.data(), plain, kRows, kK, want.data());
    ops.norm(x.data(), relu, kRows, kK, got.data());
    size_t zeros = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      ASSERT_EQ(got[i], want[i] < 0 ? 0 : want[i]) << isa;
      zeros += got[i] == 0;
    }
    EXPECT_GT(zeros, want.size() / 4);
  });
}

TEST(Int8Rows, AnMlpNormsItsHiddenValues) {
  const std::vector<float> x = normals(1, kRows * kK), gain = normals(2, kK), inner = normals(3, kN * 8);
  constexpr int64_t kFfn = kN * 8;
  const Norm norm{Norm::Kind::rms, gain.data(), nullptr, 1e-5f, false, true}, hidden{Norm::Kind::rms, inner.data(), nullptr, 1e-5f, false, true};
  on_every_table([&](const Ops& ops, std::string_view isa) {
    const RowWeights gate(ops, DType::f16, kFfn, kK, 4, 0.05f), up(ops, DType::f16, kFfn, kK, 5, 0.07f), down(ops, DType::f32, kK, kFfn, 6, 0.1f);
    Mlp mlp{&gate.matrix, &up.matrix, &down.matrix};
    mlp.act = Activation::relu2;
    mlp.hidden_norm = hidden;
    std::vector<float> y = x;
    ops.mlp({x.data(), kRows, kK, norm}, mlp, y.data());
    // The same, product by product.
    std::vector<float> g(static_cast<size_t>(kRows * kFfn)), u(g.size()), want = x;
    const MatmulOut outs[] = {{&gate.matrix, nullptr, g.data(), kFfn}, {&up.matrix, nullptr, u.data(), kFfn}};
    ops.matmul({x.data(), kRows, kK, norm}, outs);
    ops.gate(g.data(), u.data(), kRows * kFfn, Activation::relu2);
    const std::vector<double> rows = rounded(ops, g, hidden, kFfn);
    for (int64_t r = 0; r < kRows; ++r)
      for (int64_t c = 0; c < kK; ++c)
        ASSERT_NEAR(y[static_cast<size_t>(r * kK + c)], x[static_cast<size_t>(r * kK + c)] + product(rows, r, down, c, kFfn), 1e-4) << isa;
  });
}

TEST(Int8Rows, RoundsHalvesToEvenAndSaysWhatIsNotFinite) {
  std::vector<float> x = {127, 0.5f, 1.5f, -2.5f, -126.4f};
  EXPECT_EQ(round_to_int8(x.data(), 5), 1);
  EXPECT_EQ(x, (std::vector<float>{127, 0, 2, -2, -126}));
  std::vector<float> zeros(4, 0.0f);
  EXPECT_GT(round_to_int8(zeros.data(), 4), 0);
  EXPECT_EQ(zeros, std::vector<float>(4, 0.0f));
  std::vector<float> bad = {1, std::numeric_limits<float>::infinity(), 2};
  EXPECT_TRUE(std::isnan(round_to_int8(bad.data(), 3)));
  EXPECT_EQ(bad, std::vector<float>(3, 0.0f));
}

}  // namespace
}  // namespace sluice
