// Every table's matmul against the reference table, bit for bit, and the reference against float64.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "backend/op_table.h"
#include "backend/ops.h"
#include "backend/pack.h"
#include "backend/row_ops.h"
#include "base/rng.h"
#include "quant/weight/weight_format.h"
#include "tests/support/matmul_cases.h"

namespace sluice {
namespace {

INSTANTIATE_TEST_SUITE_P(Tables, Matmul, testing::ValuesIn(all_cases()), case_name);
INSTANTIATE_TEST_SUITE_P(Tables, BlockMatmul, testing::ValuesIn(block_cases()), case_name);

TEST_P(Matmul, EqualsReferenceBitForBitAtEveryShapeRowCountAndThreadCount) {
  const std::vector<int64_t> ks = lengths(dtype());
  int shape = 0;
  for (const int64_t n : {1, 16, 23, 97})
    for (const int64_t k : ks) {
      ++shape;
      const Weights w = make_weights(dtype(), n, k, 100 + static_cast<uint64_t>(shape));
      const std::vector<float> x = make_rows(40, k, 5), bias = make_rows(1, n, 6);
      const float* b = shape % 2 == 0 ? bias.data() : nullptr;
      const std::vector<float> want = multiply(reference_of(table()), 1, w, x.data(), 40, b);
      // Every row count occurs over the shapes, each on other rows.
      for (int64_t rows = 1 + shape % 5; rows <= 40; rows += rows < 8 ? 1 : 7) {
        const int64_t first = (shape * 7) % (41 - rows);
        const std::vector<float> got = multiply(table(), 1 + static_cast<int>(rows) % 4, w, &x[first * k], rows, b);
        ASSERT_TRUE(same_bits(got.data(), &want[first * n], got.size())) << "n " << n << " k " << k << " rows " << rows;
      }
    }
}

TEST_P(Matmul, ManyRowsEqualTheSameRowsAlone) {
  const int64_t k = 768, n = 100, rows = 300;
  const Weights w = make_weights(dtype(), n, k, 1);
  const std::vector<float> x = make_rows(rows, k, 2);
  const std::vector<float> all = multiply(table(), 3, w, x.data(), rows, nullptr);
  for (const int64_t row : {0, 1, 63, 127, 128, 200, 299}) {
    const std::vector<float> one = multiply(table(), 1, w, &x[row * k], 1, nullptr);
    ASSERT_TRUE(same_bits(one.data(), &all[row * n], one.size())) << "row " << row;
  }
}

TEST_P(Matmul, ExtremeValuesDoNotOverflow) {
  const int64_t k = 512, n = 20;
  for (const int fill : {0, 0x7f, 0x80, 0xff}) {
    const Weights w = make_weights(dtype(), n, k, 3, fill);
    for (const float sign : {1.0f, -1.0f}) {
      const std::vector<float> x(static_cast<size_t>(7 * k), sign);
      const std::vector<float> want = multiply(reference_of(table()), 1, w, x.data(), 7, nullptr);
      for (const int64_t rows : {1, 7}) {
        const std::vector<float> got = multiply(table(), 1, w, x.data(), rows, nullptr);
        ASSERT_TRUE(same_bits(got.data(), want.data(), got.size())) << "fill " << fill << " rows " << rows;
      }
    }
  }
}

TEST_P(Matmul, IsCloseToFloat64) {
  const int64_t k = 1280, n = 50, rows = 9;
  const Weights w = make_weights(dtype(), n, k, 8);
  const std::vector<float> x = make_rows(rows, k, 9), values = w.decoded();
  const std::vector<float> y = multiply(table(), 2, w, x.data(), rows, nullptr);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < n; ++c) {
      double exact = 0, size = 0, variance = 0, bf16_variance = 0;
      for (int64_t b = 0; b < k; b += kActBlock) {
        double largest = 0, squares = 0;
        for (int64_t i = b; i < b + kActBlock; ++i) {
          const double xv = x[r * k + i], wv = values[c * k + i];
          exact += xv * wv;
          size += std::fabs(xv * wv);
          largest = std::max(largest, std::fabs(xv));
          squares += wv * wv;
          // Rounded to 8 bits, an activation is off by up to half of its last bit, which is at most x / 2^7.
          bf16_variance += xv * wv * xv * wv * 0x1p-14 / 12;
        }
        // A rounded activation is off by up to half a step of largest / 127, evenly: variance step^2 / 12.
        variance += largest / 127 * largest / 127 / 12 * squares;
      }
      // Float32 rounding: at most one half ulp per addition; Q4_K also cancels its minimums, which `size` does not see.
      double bound = size * static_cast<double>(k) * 0x1p-24;
      if (is_block_type(dtype())) bound = 6 * std::sqrt(variance) + size * static_cast<double>(k / 16) * 0x1p-22;
      if (dtype() == DType::bf16 && table().bf16_form == ActForm::bf16_pair) bound += 6 * std::sqrt(bf16_variance);
      ASSERT_NEAR(y[r * n + c], exact, bound) << "row " << r << " column " << c;
      // The bound means something: it is well below the result's own size.
      ASSERT_LT(bound, size * 0.03);
    }
}

// What is unpacked to float32 for a product is the float32 matrix that its blocks stand for.
TEST_P(Matmul, ValuesDecodedOnTheWayEqualTheirFloat32Matrix) {
  if (panel_kind(dtype()) != PanelKind::as_in_file || is_block_type(dtype())) return;
  for (const int64_t k : lengths(dtype())) {
    const int64_t n = 71, rows = 21;
    const Weights w = make_weights(dtype(), n, k, 31);
    const std::vector<float> x = make_rows(rows, k, 5), bias = make_rows(1, n, 6), values = w.decoded();
    Weights whole{DType::f32, n, k, std::vector<uint8_t>(values.size() * 4), Buffer::allocate(Ops::packed_bytes(DType::f32, n, k)).value()};
    std::memcpy(whole.rows.data(), values.data(), whole.rows.size());
    Ops(kRefOps, pool_of(1)).pack(whole.view(), whole.packed.data());
    const std::vector<float> want = multiply(table(), 1, whole, x.data(), rows, bias.data());
    const std::vector<float> got = multiply(table(), 2, w, x.data(), rows, bias.data());
    ASSERT_TRUE(same_bits(got.data(), want.data(), got.size())) << "k " << k;
  }
}

TEST_P(Matmul, ARowThatIsNotFiniteSpoilsOnlyItself) {
  const int64_t k = 256, n = 33, rows = 8;
  const Weights w = make_weights(dtype(), n, k, 8);
  std::vector<float> x = make_rows(rows, k, 9);
  const std::vector<float> before = multiply(table(), 1, w, x.data(), rows, nullptr);
  x[3 * k + 70] = std::numeric_limits<float>::quiet_NaN();
  for (int i = 0; i < 32; ++i) x[5 * k + i] = 1e-38f;  // too small for a scale: counts as zero, and divides nothing
  x[6 * k + 200] = std::numeric_limits<float>::infinity();
  const std::vector<float> after = multiply(table(), 1, w, x.data(), rows, nullptr);
  for (int64_t r = 0; r < rows; ++r) {
    if (r == 3 || r == 6)
      for (int64_t c = 0; c < n; ++c) ASSERT_FALSE(std::isfinite(after[r * n + c]));
    else if (r == 5)
      for (int64_t c = 0; c < n; ++c) ASSERT_TRUE(std::isfinite(after[r * n + c]));
    else
      ASSERT_TRUE(same_bits(&after[r * n], &before[r * n], n)) << "row " << r;
  }
}

TEST_P(BlockMatmul, QuantizesAsTheReferenceDoes) {
  const int64_t k = 320, stride = k + 5;
  std::vector<float> x = make_rows(6, stride, 77);
  for (int i = 0; i < 32; ++i) x[i] = 0;
  x[40] = std::numeric_limits<float>::infinity();
  x[100] = 0.5f * x[101];
  for (const int rows : {1, 4, 6}) {
    std::vector<ActBlock> want(static_cast<size_t>(rows * k / 32)), got = want;
    const auto q8 = static_cast<int>(ActForm::q8);
    reference_of(table()).arrange[q8](x.data(), stride, k, rows, want.data());
    table().arrange[q8](x.data(), stride, k, rows, got.data());
    for (size_t i = 0; i < want.size(); ++i) {
      ASSERT_TRUE(same_bits(&got[i].scale, &want[i].scale, 1));
      ASSERT_EQ(std::memcmp(got[i].q, want[i].q, sizeof(want[i].q)), 0) << "block " << i;
      ASSERT_EQ(got[i].bias, want[i].bias);
      ASSERT_EQ(got[i].bias_lo, want[i].bias_lo);
      ASSERT_TRUE(same_bits(&got[i].scaled_sum, &want[i].scaled_sum, 1));
    }
  }
}

TEST(Bf16Matmul, InPairsSubnormalsAreZeroOnEveryTable) {
  const int64_t k = 70, n = 17, rows = 5;
  Weights w = make_weights(DType::bf16, n, k, 3);
  std::vector<float> x = make_rows(rows, k, 4);
  for (int64_t i = 0; i < rows * k; ++i) x[i] *= i % 3 == 0 ? 1e-38f : 1e-37f;
  for (size_t i = 0; i < w.rows.size(); i += 14) w.rows[i] = w.rows[i + 1] = i % 4 == 0 ? 0x01 : 0x00;
  Ops(kRefOps, pool_of(1)).pack(w.view(), w.packed.data());
  std::vector<float> bias = make_rows(1, n, 6);
  for (size_t c = 0; c < bias.size(); ++c) bias[c] *= c % 3 == 0 ? 1e-40f : c % 3 == 1 ? 1e-37f : 0.0f;
  const std::vector<float> want = multiply(kRefBf16Ops, 1, w, x.data(), rows, bias.data());
  for (const OpTable* table : op_tables()) {
    if (!table->lacks().empty() || table->bf16_form != ActForm::bf16_pair) continue;
    const std::vector<float> got = multiply(*table, 1, w, x.data(), rows, bias.data());
    ASSERT_TRUE(same_bits(got.data(), want.data(), got.size())) << table->isa;
  }
}

// What one op does in one pass equals the ops that it is made of.
TEST(Mxfp4, EveryPowerOfTwoIsExact) {
  Weights w = make_weights(DType::mxfp4, 256, 32, 3);
  for (size_t c = 0; c < 256; ++c) w.rows[c * 17] = static_cast<uint8_t>(c);
  Ops(kRefOps, pool_of(1)).pack(w.view(), w.packed.data());
  const std::vector<float> values = w.decoded();
  // The activations are integers of a scale of 1, so every product is exact.
  std::vector<float> x(32);
  x[0] = 127;
  x[9] = -3;
  const std::vector<float> want = multiply(kRefOps, 1, w, x.data(), 1, nullptr);
  for (size_t c = 0; c < 240; ++c)  // beyond, the sum may overflow
    ASSERT_EQ(want[c], 127 * values[c * 32] - 3 * values[c * 32 + 9]) << "exponent " << c;
  for (const OpTable* table : op_tables()) {
    if (!table->lacks().empty()) continue;
    const std::vector<float> y = multiply(*table, 1, w, x.data(), 1, nullptr);
    ASSERT_TRUE(same_bits(y.data(), want.data(), 256)) << table->isa;
  }
}

// But for the end of a panel's headers, whose values begin at a line of 64 bytes.
TEST(Pack, TakesNoMoreMemoryThanTheFile) {
  for (const WeightFormat* f : weight_formats())
    EXPECT_LT(Ops::packed_bytes(f->dtype, 896, 4864), row_bytes(f->dtype, 896 * 4864) + 896 / kPanelCols * 64) << f->name;
}

TEST(Embed, EqualsDecodedRows) {
  for (const WeightFormat* f : weight_formats()) {
    const Weights w = make_weights(f->dtype, 9, 256, 1);
    const std::vector<float> values = w.decoded();
    const std::vector<TokenId> tokens = {8, 0, 8, 3};
    std::vector<float> out(4 * 256);
    Ops(kRefOps, pool_of(2)).embed(w.view(), tokens, out.data());
    for (size_t i = 0; i < tokens.size(); ++i)
      ASSERT_TRUE(same_bits(&out[i * 256], &values[static_cast<size_t>(tokens[i]) * 256], 256)) << f->name;
  }
}

TEST(SelectOpTable, TakesTheBestTheForcedAndNamesTheChoices) {
  const OpTable* best = nullptr;
  for (const OpTable* t : op_tables())
    if (best == nullptr && t->lacks().empty() && !t->unproven) best = t;
  ::unsetenv("SLUICE_ISA");
  EXPECT_EQ(select_op_table().value(), best);
  EXPECT_EQ(select_op_table("ref").value(), &kRefOps);
  ::setenv("SLUICE_ISA", "ref", 1);
  EXPECT_EQ(select_op_table().value(), &kRefOps);
  ::setenv("SLUICE_ISA", "sse9", 1);
  const auto unknown = select_op_table();
  ASSERT_FALSE(unknown.ok());
  EXPECT_TRUE(unknown.error().message.starts_with("SLUICE_ISA sse9 ")) << unknown.error().message;
  EXPECT_TRUE(select_op_table("sse8").error().message.starts_with("--isa sse8 "));
  for (const OpTable* t : op_tables())
    EXPECT_NE(unknown.error().message.find(t->isa), std::string::npos) << unknown.error().message;
  ::unsetenv("SLUICE_ISA");
  for (const OpTable* t : op_tables()) {
    const auto forced = select_op_table(t->isa);
    if (t->lacks().empty()) EXPECT_EQ(forced.value(), t);
    else EXPECT_EQ(forced.error().message.find("--isa " + std::string(t->isa) + " cannot run on this CPU, which lacks " + t->lacks()), 0u);
  }
}

}  // namespace
}  // namespace sluice
