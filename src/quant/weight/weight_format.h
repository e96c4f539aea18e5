#pragma once
// Codecs of the weight types that model files hold, and of our own: one file each, listed in catalog.cpp. The block layouts
// are ggml's (https://github.com/ggml-org/ggml, docs/gguf.md), and decode() gives the same bits as its dequantization; a type
// of our own says so in its file.

#include <cstdint>
#include <span>
#include <string_view>

#include "tensor/dtype.h"

namespace sluice {

/// One block of a quantized type, taken apart: value[i] = scale(i) * (q[i] - offset) - min(i), or scale(i) * table[q[i]]
/// (value_tables.h).
struct QuantBlock {
  uint16_t d = 0, dmin = 0;  // float16 bits; Q4_1, Q5_1: dmin is the minimum itself, -m
  uint8_t scale[16] = {};    // Q4_K, Q5_K: 8 of 6 bits; Q6_K: 16 of int8 bits; MXFP4: one E8M0;
                             // Q3_K: 16 of 6 bits, 32 too large; Q2_K: 16 of 4 bits; otherwise unused
  uint8_t min[16] = {};      // Q4_K, Q5_K: 8 of 6 bits; Q2_K: 16 of 4 bits
  uint8_t q[256] = {};       // block_elems unsigned values, in element order
};

struct WeightFormat {
  DType dtype;
  std::string_view name;
  int block_elems, block_bytes;
  /// Encodes n values (a multiple of block_elems). Values that are not finite are stored as some finite value by the
  /// block types.
  void (*encode)(const float* values, void* blocks, int64_t n);
  /// Decodes n values (a multiple of block_elems). `blocks` needs no alignment.
  void (*decode)(const void* blocks, float* values, int64_t n);
  /// Takes one block apart; null for the float types.
  void (*unpack)(const void* block, QuantBlock* out);
};

extern const WeightFormat kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ4_K, kQ6_K, kQ5_0, kQ5_K, kIQ4_NL, kMXFP4, kQ4_1, kQ5_1, kQ3_K, kQ2_K,
    kI8_G128;

/// Every format, in catalog order.
std::span<const WeightFormat* const> weight_formats();
/// The format of a type, or null where there is none (integers, float64).
const WeightFormat* weight_format(DType dtype);

}  // namespace sluice
