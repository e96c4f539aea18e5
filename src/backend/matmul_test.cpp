// Every table's matmul against the reference table, bit for bit, and the reference against float64.

#include <gtest/gtest.h>

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
#include "tests/support/amx_emulator.h"

namespace sluice {
namespace {

struct Weights {
  DType dtype;
  int64_t n, k;
  std::vector<uint8_t> rows;  // as in a file
  Buffer packed;

  TensorView view() const { return {rows.data(), dtype, Shape{n, k}}; }
  PackedMatrix matrix() const { return {dtype, n, k, packed.data()}; }
  std::vector<float> decoded() const {
    std::vector<float> values(static_cast<size_t>(n * k));
    weight_format(dtype)->decode(rows.data(), values.data(), n * k);
    return values;
  }
};

ThreadPool& pool_of(int threads) {
  static ThreadPool pools[] = {ThreadPool(1), ThreadPool(2), ThreadPool(3), ThreadPool(4)};
  return pools[threads - 1];
}

// Where a block has float16 scales and minimums.
std::vector<size_t> scales_at(DType dtype) {
  switch (dtype) {
    case DType::q4_1: case DType::q5_1: case DType::q4_k: case DType::q5_k: return {0, 2};
    case DType::q2_k: return {80, 82};
    case DType::q3_k: return {108};
    case DType::q6_k: return {208};
    case DType::mxfp4: return {};
    default: return {0};
  }
}

// Random bits for the block types, so that every integer occurs, with sane scales; normal values for the float types.
// `fill` >= 0 gives every value byte.
Weights make_weights(DType dtype, int64_t n, int64_t k, uint64_t seed, int fill = -1) {
  Weights w{dtype, n, k, std::vector<uint8_t>(row_bytes(dtype, n * k)), {}};
  const WeightFormat& format = *weight_format(dtype);
  Rng rng(seed);
  if (is_block_type(dtype)) {
    for (uint8_t& b : w.rows) b = fill >= 0 ? static_cast<uint8_t>(fill) : static_cast<uint8_t>(rng.below(256));
    for (size_t at = 0; at < w.rows.size(); at += static_cast<size_t>(format.block_bytes)) {
      if (dtype == DType::mxfp4) w.rows[at] = static_cast<uint8_t>(118 + rng.below(4));
      for (const size_t offset : scales_at(dtype)) {
        const uint16_t d = f32_to_f16(static_cast<float>(rng.next_normal() * 0.01));
        std::memcpy(&w.rows[at + offset], &d, 2);
      }
    }
  } else {
    std::vector<float> values(static_cast<size_t>(n * k));
    for (float& v : values) v = static_cast<float>(rng.next_normal());
    format.encode(values.data(), w.rows.data(), n * k);
  }
  w.packed = Buffer::allocate(Ops::packed_bytes(dtype, n, k)).value();
  Ops(kRefOps, pool_of(2)).pack(w.view(), w.packed.data());
  return w;
}

std::vector<float> make_rows(int64_t rows, int64_t k, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> x(static_cast<size_t>(rows * k));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(rng.next_normal() * (i % 67 == 0 ? 20 : 1));
  return x;
}

std::vector<float> multiply(const OpTable& table, int threads, const Weights& w, const float* x, int64_t rows,
                            const float* bias) {
  std::vector<float> y(static_cast<size_t>(rows * w.n), -7.0f);
  const PackedMatrix m = w.matrix();
  const MatmulOut out{&m, bias, y.data(), w.n};
  Ops(table, pool_of(threads)).matmul({x, rows, w.k}, {&out, 1});
  return y;
}

::testing::AssertionResult same_bits(const float* a, const float* b, size_t n) {
  for (size_t i = 0; i < n; ++i)
    if (std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i]) && !(std::isnan(a[i]) && std::isnan(b[i])))
      return ::testing::AssertionFailure() << "value " << i << " of " << n << ": " << a[i] << " and " << b[i];
  return ::testing::AssertionSuccess();
}

std::vector<int64_t> lengths(DType dtype) {
  if (weight_format(dtype)->block_elems == 256) return {256, 768, 1280};
  if (is_block_type(dtype)) return {32, 96, 544, 1088};
  return {1, 7, 255, 256, 513, 600};
}

struct Case {
  const OpTable* table;
  const WeightFormat* format;
};

// A kernel that two tables share is tested once.
std::vector<Case> all_cases() {
  std::vector<Case> cases;
  std::set<MatmulFn*> seen;
  for (const OpTable* t : op_tables())
    for (const WeightFormat* f : weight_formats())
      if (seen.insert(t->matmul[static_cast<int>(f->dtype)]).second) cases.push_back({t, f});
  return cases;
}

class Matmul : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (const std::string lacks = lacks_even_emulated(*GetParam().table); !lacks.empty()) GTEST_SKIP() << "this CPU lacks " << lacks;
  }
  const OpTable& table() const { return *GetParam().table; }
  DType dtype() const { return GetParam().format->dtype; }
};

class BlockMatmul : public Matmul {};  // the types whose activations are quantized too

std::vector<Case> block_cases() {
  std::vector<Case> cases = all_cases();
  std::erase_if(cases, [](const Case& c) { return !is_block_type(c.format->dtype); });
  return cases;
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
  return std::string(info.param.table->isa) + "_" + std::string(info.param.format->name);
}

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
TEST_P(Matmul, NormAndResidualInOnePassEqualTheirOwnOps) {
  const int64_t k = 512, n = 150;
  const Weights w = make_weights(dtype(), n, k, 1);
  const PackedMatrix m = w.matrix();
  const std::vector<float> gain = make_rows(1, k, 2), bias = make_rows(1, n, 3);
  for (const int64_t rows : {1, 7, 140}) {
    const Ops ops(table(), pool_of(3));
    const std::vector<float> x = make_rows(rows, k, 4), residual = make_rows(rows, n, 5);
    std::vector<float> normed(x.size()), want = residual, got = residual;
    ops.rms_norm(x.data(), gain.data(), 1e-5f, rows, k, normed.data());
    const std::vector<float> product = multiply(table(), 1, w, normed.data(), rows, bias.data());
    table().row->add(want.data(), product.data(), rows * n);
    const MatmulOut out{&m, bias.data(), got.data(), n, true};
    ops.matmul({x.data(), rows, k, gain.data(), 1e-5f}, {&out, 1});
    ASSERT_TRUE(same_bits(got.data(), want.data(), got.size())) << rows << " rows";
  }
}

TEST_P(Matmul, GatedMlpEqualsItsProducts) {
  // A last task narrower than the others: whole blocks, but no whole register tile of columns.
  const int64_t k = 256, ffn = weight_format(dtype())->block_elems > 32 ? 768 : 544;
  const std::vector<float> gain = make_rows(1, k, 2), up_bias = make_rows(1, ffn, 3);
  const Weights gate = make_weights(dtype(), ffn, k, 1), up = make_weights(dtype(), ffn, k, 2);
  // The last: a type of another form, so that the products cannot be joined.
  for (const DType down_type : {dtype(), DType::q8_0, DType::f32}) {
    const Weights down = make_weights(down_type, k, ffn, 3);
    const PackedMatrix g = gate.matrix(), u = up.matrix(), d = down.matrix();
    for (const int64_t rows : {1, 9, 140}) {
      const Ops ops(table(), pool_of(3));
      const std::vector<float> x = make_rows(rows, k, 4);
      std::vector<float> normed(x.size()), want = x, got = x;
      ops.rms_norm(x.data(), gain.data(), 1e-5f, rows, k, normed.data());
      std::vector<float> hidden = multiply(table(), 1, gate, normed.data(), rows, nullptr);
      const std::vector<float> upper = multiply(table(), 2, up, normed.data(), rows, up_bias.data());
      ops.silu_mul(hidden.data(), upper.data(), rows * ffn);
      const std::vector<float> product = multiply(table(), 1, down, hidden.data(), rows, nullptr);
      table().row->add(want.data(), product.data(), rows * k);
      ops.gated_mlp({x.data(), rows, k, gain.data(), 1e-5f}, {&g, &u, &d, nullptr, up_bias.data(), nullptr}, got.data());
      ASSERT_TRUE(same_bits(got.data(), want.data(), got.size())) << dtype_name(down_type) << ", " << rows << " rows";
    }
  }
}

TEST(MatmulOuts, SeveralOutputsOfMixedTypesAndStridesInOneCall) {
  const int64_t k = 512;
  const DType types[] = {DType::q4_k, DType::f32, DType::q8_0, DType::bf16};
  const int64_t n[] = {70, 16, 5, 33};
  for (const OpTable* table : op_tables()) {
    if (!lacks_even_emulated(*table).empty()) continue;
    for (const int64_t rows : {1, 5, 150}) {
      const std::vector<float> x = make_rows(rows, k, 4);
      std::vector<Weights> w;
      std::vector<PackedMatrix> m;
      std::vector<std::vector<float>> y;
      std::vector<MatmulOut> outs;
      for (int i = 0; i < 4; ++i) w.push_back(make_weights(types[i], n[i], k, static_cast<uint64_t>(i)));
      for (int i = 0; i < 4; ++i) {
        m.push_back(w[i].matrix());
        y.emplace_back(static_cast<size_t>(rows * (n[i] + 3)), -7.0f);
      }
      for (int i = 0; i < 4; ++i) outs.push_back({&m[i], nullptr, y[i].data(), n[i] + 3});
      Ops(*table, pool_of(3)).matmul({x.data(), rows, k}, outs);
      for (int i = 0; i < 4; ++i) {
        const std::vector<float> want = multiply(reference_of(*table), 1, w[i], x.data(), rows, nullptr);
        for (int64_t r = 0; r < rows; ++r) {
          ASSERT_TRUE(same_bits(&y[i][r * (n[i] + 3)], &want[r * n[i]], n[i])) << table->isa << " output " << i;
          for (int64_t pad = n[i]; pad < n[i] + 3; ++pad) ASSERT_EQ(y[i][r * (n[i] + 3) + pad], -7.0f);
        }
      }
    }
  }
}

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

TEST(Pack, TakesNoMoreMemoryThanTheFile) {
  for (const WeightFormat* f : weight_formats())
    EXPECT_LE(Ops::packed_bytes(f->dtype, 896, 4864), row_bytes(f->dtype, 896 * 4864) * 1001 / 1000) << f->name;
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
