#pragma once
// What the tests of matmul share: weights of every type, rows, and every kernel of every table.

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "backend/activations.h"
#include "backend/op_table.h"
#include "backend/ops.h"
#include "backend/pack.h"
#include "base/rng.h"
#include "quant/weight/weight_format.h"
#include "tests/support/amx_emulator.h"

namespace sluice {

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

inline ThreadPool& pool_of(int threads) {
  static ThreadPool pools[] = {ThreadPool(1), ThreadPool(2), ThreadPool(3), ThreadPool(4)};
  return pools[threads - 1];
}

// Where a block has float16 scales and minimums.
inline std::vector<size_t> scales_at(DType dtype) {
  switch (dtype) {
    case DType::q4_1: case DType::q5_1: case DType::q4_k: case DType::q5_k: return {0, 2};
    case DType::q2_k: return {80, 82};
    case DType::q3_k: return {108};
    case DType::q6_k: return {208};
    case DType::tq2_0: return {64};
    case DType::tq1_0: return {52};
    case DType::mxfp4: case DType::nvfp4: case DType::iq1_m: case DType::u4_g128: case DType::u4_g32: case DType::u8_g128: return {};
    default: return {0};
  }
}

// Random bits for the block types, so that every integer occurs, with sane scales; normal values for the float types.
// `fill` >= 0 gives every value byte.
inline Weights make_weights(DType dtype, int64_t n, int64_t k, uint64_t seed, int fill = -1) {
  Weights w{dtype, n, k, std::vector<uint8_t>(row_bytes(dtype, n * k)), {}};
  const WeightFormat& format = *weight_format(dtype);
  Rng rng(seed);
  if (is_block_type(dtype)) {
    for (uint8_t& b : w.rows) b = fill >= 0 ? static_cast<uint8_t>(fill) : static_cast<uint8_t>(rng.below(256));
    for (size_t at = 0; at < w.rows.size(); at += static_cast<size_t>(format.block_bytes)) {
      if (format.unpack != nullptr && scales_at(dtype).empty() && dtype != DType::mxfp4) {
        const float scale = static_cast<float>(rng.next_normal() * 0.01);
        std::memcpy(&w.rows[at], &scale, 4);
      }
      if (dtype == DType::iq1_m)
        for (size_t i = 0; i < 4; ++i) {  // d, a nibble at the top of each of four uint16
          const uint16_t d = f32_to_f16(static_cast<float>(rng.next_normal() * 0.01));
          uint8_t& top = w.rows[at + 49 + 2 * i];
          top = static_cast<uint8_t>((top & 15) | (d >> 12 & (i == 3 ? 0xb : 0xf)) << 4);
        }
      for (size_t i = 0; dtype == DType::nvfp4 && i < 4; ++i) w.rows[at + i] = static_cast<uint8_t>(32 + rng.below(16));
      if (dtype == DType::mxfp4) w.rows[at] = static_cast<uint8_t>(118 + rng.below(4));
      for (const size_t offset : scales_at(dtype)) {
        const uint16_t d = f32_to_f16(static_cast<float>(rng.next_normal() * 0.01));
        std::memcpy(&w.rows[at + offset], &d, 2);
      }
    }
  } else if (format.encode == nullptr) {  // floats of 8 bits, of magnitudes below 2
    for (uint8_t& b : w.rows) b = static_cast<uint8_t>(rng.below(256) & 0xbf);
  } else {
    std::vector<float> values(static_cast<size_t>(n * k));
    for (float& v : values) v = static_cast<float>(rng.next_normal());
    format.encode(values.data(), w.rows.data(), n * k);
  }
  w.packed = Buffer::allocate(Ops::packed_bytes(dtype, n, k)).value();
  Ops(kRefOps, pool_of(2)).pack(w.view(), w.packed.data());
  return w;
}

inline std::vector<float> make_rows(int64_t rows, int64_t k, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> x(static_cast<size_t>(rows * k));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(rng.next_normal() * (i % 67 == 0 ? 20 : 1));
  return x;
}

inline std::vector<float> multiply(const OpTable& table, int threads, const Weights& w, const float* x, int64_t rows,
                            const float* bias) {
  std::vector<float> y(static_cast<size_t>(rows * w.n), -7.0f);
  const PackedMatrix m = w.matrix();
  const MatmulOut out{&m, bias, y.data(), w.n};
  Ops(table, pool_of(threads)).matmul({x, rows, w.k}, {&out, 1});
  return y;
}

/// Rows for several tiles and every row class; for the portable table, which has no classes and is slow, fewer.
inline int64_t many_rows(const OpTable& table) { return table.row == &kRefRowOps ? 40 : 150; }

inline ::testing::AssertionResult same_bits(const float* a, const float* b, size_t n) {
  for (size_t i = 0; i < n; ++i)
    if (std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i]) && !(std::isnan(a[i]) && std::isnan(b[i])))
      return ::testing::AssertionFailure() << "value " << i << " of " << n << ": " << a[i] << " and " << b[i];
  return ::testing::AssertionSuccess();
}

inline std::vector<int64_t> lengths(DType dtype) {
  if (weight_format(dtype)->block_elems == 256) return {256, 768, 1280};
  if (weight_format(dtype)->block_elems == 128) return {128, 384, 640, 1152};
  if (weight_format(dtype)->block_elems == 64) return {64, 192, 576, 1088};
  if (weight_format(dtype)->block_elems == 32) return {32, 96, 544, 1088};
  return {1, 7, 255, 256, 513, 600};
}

struct Case {
  const OpTable* table;
  const WeightFormat* format;
};

// A kernel that two tables share is tested once.
inline std::vector<Case> all_cases() {
  std::vector<Case> cases;
  std::set<std::pair<MatmulFn*, DType>> seen;
  for (const OpTable* t : op_tables())
    for (const WeightFormat* f : weight_formats())
      if (seen.insert({matmul_kernel(*t, f->dtype), f->dtype}).second) cases.push_back({t, f});
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

inline std::vector<Case> block_cases() {
  std::vector<Case> cases = all_cases();
  std::erase_if(cases, [](const Case& c) { return !is_block_type(c.format->dtype); });
  return cases;
}

inline std::string case_name(const testing::TestParamInfo<Case>& info) {
  return std::string(info.param.table->isa) + "_" + std::string(info.param.format->name);
}

}  // namespace sluice
