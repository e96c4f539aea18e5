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
  uint8_t scale[16] = {};    // U4_G32, U4_G128, U8_G128: the 4 bytes of a float32; Q4_K, Q5_K: 8 of 6 bits; Q6_K: 16 of int8 bits; MXFP4: one E8M0;
                             // IQ4_XS: 8 of 6 bits, 32 too large; Q3_K: 16 of 6 bits, 32 too large; Q2_K: 16 of 4 bits; otherwise unused
  uint8_t min[16] = {};      // of those the zero; Q4_K, Q5_K: 8 of 6 bits; Q2_K: 16 of 4 bits
  uint8_t q[256] = {};       // block_elems unsigned values, in element order
};

struct WeightFormat {
  DType dtype;
  std::string_view name;
  int block_elems, block_bytes;
  /// Encodes n values (a multiple of block_elems). Values that are not finite are stored as some finite value by the
  /// block types. Null for types that are read only.
  void (*encode)(const float* values, void* blocks, int64_t n);
  /// Decodes n values (a multiple of block_elems). `blocks` needs no alignment.
  void (*decode)(const void* blocks, float* values, int64_t n);
  /// Takes one block apart; null for the float types and those that are multiplied by their codes or values.
  void (*unpack)(const void* block, QuantBlock* out) = nullptr;
  /// One block as value[i] = scales[i / 16] * codes[i], the same bits as decode(); null where that is not how it is made.
  void (*codes)(const void* block, int8_t* codes, float* scales) = nullptr;
};

/// decode() of a format that has codes.
template <void (*kCodes)(const void*, int8_t*, float*), int kElems, int kBytes>
void decode_codes(const void* blocks, float* values, int64_t n) {
  const auto* in = static_cast<const uint8_t*>(blocks);
  for (int64_t b = 0; b < n / kElems; ++b, values += kElems, in += kBytes) {
    int8_t codes[kElems];
    float scales[kElems / 16];
    kCodes(in, codes, scales);
    for (int i = 0; i < kElems; ++i) values[i] = scales[i / 16] * static_cast<float>(codes[i]);
  }
}

extern const WeightFormat kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ4_K, kQ6_K, kQ5_0, kQ5_K, kIQ4_NL, kMXFP4, kQ4_1, kQ5_1, kQ3_K, kQ2_K,
    kI8_G128, kIQ4_XS, kIQ3_S, kIQ3_XXS, kIQ2_S, kIQ2_XS, kIQ2_XXS, kIQ1_M, kIQ1_S, kTQ2_0, kTQ1_0, kNVFP4, kF64, kF8_E4M3, kF8_E5M2,
    kU4_G128, kU4_G32, kU8_G128, kU8_G32, kF8_G128, kF8_G32, kNF4_G64;

/// Every format, in catalog order.
std::span<const WeightFormat* const> weight_formats();
/// The format of a type, or null where there is none (integers, float64).
const WeightFormat* weight_format(DType dtype);

}  // namespace sluice
