#include "quant/weight/weight_format.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "base/rng.h"
#include "quant/weight/value_tables.h"

namespace sluice {
namespace {

class WeightFormats : public testing::TestWithParam<const WeightFormat*> {};
class EncodedFormats : public WeightFormats {};  // all but F32, which is a copy
class WrittenFormats : public WeightFormats {};  // those that are not read only
class BlockFormats : public WeightFormats {};
class CodeFormats : public WeightFormats {};

template <class Predicate>
auto formats_where(Predicate wanted) {
  std::vector<const WeightFormat*> formats;
  for (const WeightFormat* f : weight_formats())
    if (wanted(*f)) formats.push_back(f);
  return testing::ValuesIn(formats);
}
const auto name_of_format = [](const testing::TestParamInfo<const WeightFormat*>& info) { return std::string(info.param->name); };

INSTANTIATE_TEST_SUITE_P(Catalog, WeightFormats, formats_where([](const WeightFormat&) { return true; }), name_of_format);
INSTANTIATE_TEST_SUITE_P(Catalog, EncodedFormats, formats_where([](const WeightFormat& f) { return f.dtype != DType::f32; }), name_of_format);
INSTANTIATE_TEST_SUITE_P(Catalog, WrittenFormats, formats_where([](const WeightFormat& f) { return f.encode != nullptr; }), name_of_format);
INSTANTIATE_TEST_SUITE_P(Catalog, CodeFormats, formats_where([](const WeightFormat& f) { return f.codes != nullptr; }), name_of_format);
INSTANTIATE_TEST_SUITE_P(Catalog, BlockFormats, formats_where([](const WeightFormat& f) { return f.unpack != nullptr; }), name_of_format);

std::vector<float> round_trip(const WeightFormat& f, const std::vector<float>& x) {
  std::vector<uint8_t> blocks(row_bytes(f.dtype, static_cast<int64_t>(x.size())));
  std::vector<float> y(x.size());
  f.encode(x.data(), blocks.data(), static_cast<int64_t>(x.size()));
  f.decode(blocks.data(), y.data(), static_cast<int64_t>(x.size()));
  return y;
}

double relative_rmse(const std::vector<float>& x, const std::vector<float>& y) {
  double error = 0, power = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += (static_cast<double>(x[i]) - y[i]) * (static_cast<double>(x[i]) - y[i]);
    power += static_cast<double>(x[i]) * x[i];
  }
  return std::sqrt(error / power);
}

TEST_P(WeightFormats, AgreesWithTheTypeTable) {
  const WeightFormat& f = *GetParam();
  EXPECT_EQ(f.name, dtype_name(f.dtype));
  EXPECT_EQ(f.block_elems, dtype_info(f.dtype).block_elems);
  EXPECT_EQ(f.block_bytes, dtype_info(f.dtype).block_bytes);
  EXPECT_EQ(weight_format(f.dtype), &f);
}

std::string golden_file(const WeightFormat& f, const char* extension) {
  return read_file(std::string(SLUICE_SOURCE_DIR "/tests/golden/quant/") + std::string(f.name) + extension).value();
}

// The golden values come from the gguf package; tests/golden/make_quant.py makes them.
TEST_P(EncodedFormats, DecodesGoldenBlocksBitForBit) {
  const WeightFormat& f = *GetParam();
  const std::string blocks = golden_file(f, ".bin"), golden = golden_file(f, ".f32");
  const size_t n = golden.size() / 4;
  ASSERT_EQ(blocks.size(), row_bytes(f.dtype, static_cast<int64_t>(n)));
  std::vector<float> want(n), got(n);
  std::memcpy(want.data(), golden.data(), golden.size());
  f.decode(blocks.data(), got.data(), static_cast<int64_t>(n));
  for (size_t i = 0; i < n; ++i)
    ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want[i])) << "value " << i;
}

TEST_P(BlockFormats, UnpackAgreesWithDecode) {
  const WeightFormat& f = *GetParam();
  const std::string blocks = golden_file(f, ".bin");
  std::vector<float> want(static_cast<size_t>(f.block_elems));
  for (size_t at = 0; at < blocks.size(); at += static_cast<size_t>(f.block_bytes)) {
    QuantBlock b;
    f.unpack(blocks.data() + at, &b);
    f.decode(blocks.data() + at, want.data(), f.block_elems);
    const float d = f16_to_f32(b.d), dmin = f16_to_f32(b.dmin);
    for (int i = 0; i < f.block_elems; ++i) {
      float value = 0;
      if (f.dtype == DType::q8_0 || f.dtype == DType::i8_g128) value = d * static_cast<float>(b.q[i] - 128);
      if (f.dtype == DType::u4_g128 || f.dtype == DType::u4_g32 || f.dtype == DType::u8_g128) {
        float scale;
        std::memcpy(&scale, b.scale, 4);
        value = scale * static_cast<float>(b.q[i] - b.min[0]);
      }
      if (f.dtype == DType::iq4_xs)
        value = (d * static_cast<float>(b.scale[i / 32] - 32)) * static_cast<float>(kIq4NlValues[b.q[i]]);
      if (f.dtype == DType::tq2_0) value = d * static_cast<float>(b.q[i] - 1);
      if (f.dtype == DType::q4_0) value = d * static_cast<float>(b.q[i] - 8);
      if (f.dtype == DType::iq4_nl) value = d * static_cast<float>(kIq4NlValues[b.q[i]]);
      if (f.dtype == DType::mxfp4) value = std::ldexp(static_cast<float>(kE2M1Doubled[b.q[i]]), b.scale[0] - 128);
      if (f.dtype == DType::q4_1 || f.dtype == DType::q5_1) value = d * static_cast<float>(b.q[i]) - dmin;
      if (f.dtype == DType::q5_0) value = d * static_cast<float>(b.q[i] - 16);
      if (f.dtype == DType::q4_k || f.dtype == DType::q5_k)
        value = (d * b.scale[i / 32]) * static_cast<float>(b.q[i]) - dmin * b.min[i / 32];
      if (f.dtype == DType::q2_k) value = (d * b.scale[i / 16]) * static_cast<float>(b.q[i]) - dmin * b.min[i / 16];
      if (f.dtype == DType::q3_k)
        value = (d * static_cast<float>(b.scale[i / 16] - 32)) * static_cast<float>(b.q[i] - 4);
      if (f.dtype == DType::q6_k)
        value = (d * static_cast<float>(static_cast<int8_t>(b.scale[i / 16]))) * static_cast<float>(b.q[i] - 32);
      ASSERT_EQ(value, want[static_cast<size_t>(i)]) << "value " << i;
    }
  }
}

TEST_P(CodeFormats, CodesAgreeWithDecode) {
  const WeightFormat& f = *GetParam();
  const std::string blocks = golden_file(f, ".bin");
  const auto n = static_cast<size_t>(f.block_elems);
  std::vector<float> want(n), scales(n / 16);
  std::vector<int8_t> codes(n);
  for (size_t at = 0; at < blocks.size(); at += static_cast<size_t>(f.block_bytes)) {
    f.codes(blocks.data() + at, codes.data(), scales.data());
    f.decode(blocks.data() + at, want.data(), f.block_elems);
    for (size_t i = 0; i < n; ++i) ASSERT_EQ(scales[i / 16] * static_cast<float>(codes[i]), want[i]) << "value " << i;
  }
}

// Relative error over normal values: bounds a little above what a good search reaches, well below what a poor one does.
TEST_P(WrittenFormats, RoundTripErrorIsBounded) {
  const WeightFormat& f = *GetParam();
  static const std::map<DType, double> kBounds = {
      {DType::f32, 0},       {DType::f16, 3e-4},   {DType::bf16, 2e-3},    {DType::q8_0, 6e-3},
      {DType::q4_0, 0.09},   {DType::q4_k, 0.076}, {DType::q6_k, 0.020},   {DType::q5_0, 0.044},
      {DType::q5_k, 0.038},  {DType::iq4_nl, 0.081}, {DType::mxfp4, 0.119}, {DType::q4_1, 0.075},
      {DType::q5_1, 0.036},  {DType::q3_k, 0.162},   {DType::q2_k, 0.29},   {DType::i8_g128, 7e-3},
      {DType::f64, 0},       {DType::iq4_xs, 0.08},  {DType::tq2_0, 0.9},   {DType::tq1_0, 0.9},  {DType::u4_g128, 0.105},
      {DType::u4_g32, 0.1},  {DType::u8_g128, 7e-3}, {DType::u8_g32, 7e-3}, {DType::f8_g128, 0.03}, {DType::f8_g32, 0.03},
      {DType::nf4_g64, 0.1},
  };
  const double bound = kBounds.at(f.dtype);
  Rng rng(7);
  for (const double size : {1e-3, 1.0, 300.0}) {
    std::vector<float> x(256 * 32);
    for (float& v : x) v = static_cast<float>(rng.next_normal() * size);
    EXPECT_LE(relative_rmse(x, round_trip(f, x)), bound) << "values of size " << size;
    // Weights with a bias and an outlier per block.
    for (size_t i = 0; i < x.size(); ++i) x[i] = x[i] * 0.25f + (i % 32 == 5 ? 2.0f : 0.3f) * static_cast<float>(size);
    EXPECT_LE(relative_rmse(x, round_trip(f, x)), bound * 1.6) << "biased values of size " << size;
  }
}

TEST_P(WrittenFormats, KeepsZerosAndConstants) {
  const WeightFormat& f = *GetParam();
  for (const float c : {0.0f, 0.5f, -0.5f}) {
    const std::vector<float> x(512, c);
    for (const float v : round_trip(f, x)) ASSERT_NEAR(v, c, std::fabs(c) * 0.01f);
  }
}

TEST_P(WrittenFormats, SurvivesValuesThatAreNotFiniteOrHuge) {
  const WeightFormat& f = *GetParam();
  std::vector<float> x(512, 1.0f);
  x[3] = std::numeric_limits<float>::quiet_NaN();
  x[40] = std::numeric_limits<float>::infinity();
  x[300] = -std::numeric_limits<float>::infinity();
  x[350] = 3e38f;
  const std::vector<float> y = round_trip(f, x);
  if (f.block_elems == 1) return;  // the float types keep them
  for (const float v : y) ASSERT_TRUE(std::isfinite(v));
}

}  // namespace
}  // namespace sluice
