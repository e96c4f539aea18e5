#include "tensor/dtype.h"

#include <bit>

#include "base/check.h"

namespace sluice {
namespace {

constexpr DTypeInfo kInfos[kNumDTypes] = {
    {DType::f32, "F32", 1, 4},     {DType::f16, "F16", 1, 2},     {DType::bf16, "BF16", 1, 2},
    {DType::f64, "F64", 1, 8},     {DType::i8, "I8", 1, 1},       {DType::u8, "U8", 1, 1},
    {DType::i16, "I16", 1, 2},     {DType::u16, "U16", 1, 2},     {DType::i32, "I32", 1, 4},
    {DType::u32, "U32", 1, 4},     {DType::i64, "I64", 1, 8},     {DType::u64, "U64", 1, 8},
    {DType::boolean, "BOOL", 1, 1}, {DType::q8_0, "Q8_0", 32, 34}, {DType::q4_0, "Q4_0", 32, 18},
    {DType::q4_k, "Q4_K", 256, 144}, {DType::q6_k, "Q6_K", 256, 210}, {DType::q5_0, "Q5_0", 32, 22},
    {DType::q5_k, "Q5_K", 256, 176}, {DType::iq4_nl, "IQ4_NL", 32, 18},
    {DType::mxfp4, "MXFP4", 32, 17}, {DType::q4_1, "Q4_1", 32, 20},
    {DType::q5_1, "Q5_1", 32, 24}, {DType::q3_k, "Q3_K", 256, 110},
    {DType::q2_k, "Q2_K", 256, 84}, {DType::i8_g128, "I8_G128", 128, 130},
    {DType::iq4_xs, "IQ4_XS", 256, 136}, {DType::iq3_s, "IQ3_S", 256, 110},
    {DType::iq3_xxs, "IQ3_XXS", 256, 98}, {DType::iq2_s, "IQ2_S", 256, 82},
    {DType::iq2_xs, "IQ2_XS", 256, 74}, {DType::iq2_xxs, "IQ2_XXS", 256, 66},
    {DType::iq1_m, "IQ1_M", 256, 56}, {DType::iq1_s, "IQ1_S", 256, 50},
    {DType::tq2_0, "TQ2_0", 256, 66}, {DType::tq1_0, "TQ1_0", 256, 54},
    {DType::nvfp4, "NVFP4", 64, 36}, {DType::f8_e4m3, "F8_E4M3", 1, 1},
    {DType::f8_e5m2, "F8_E5M2", 1, 1}, {DType::u4_g128, "U4_G128", 128, 69},
    {DType::u4_g32, "U4_G32", 32, 21}, {DType::u8_g128, "U8_G128", 128, 133},
    {DType::u8_g32, "U8_G32", 32, 37}, {DType::f8_g128, "F8_G128", 128, 132},
    {DType::f8_g32, "F8_G32", 32, 36}, {DType::nf4_g64, "NF4_G64", 64, 36},
};

}  // namespace

const DTypeInfo& dtype_info(DType dtype) {
  const DTypeInfo& info = kInfos[static_cast<int>(dtype)];
  CHECK(info.dtype == dtype);
  return info;
}

size_t row_bytes(DType dtype, int64_t elems) {
  const DTypeInfo& info = dtype_info(dtype);
  CHECK(elems % info.block_elems == 0, "{} values are not a whole number of {} blocks", elems, info.name);
  return static_cast<size_t>(elems / info.block_elems) * static_cast<size_t>(info.block_bytes);
}

float f16_to_f32(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  uint32_t exponent = (bits >> 10) & 0x1f, mantissa = bits & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000 | (mantissa << 13));
  if (exponent == 0) {
    if (mantissa == 0) return std::bit_cast<float>(sign);
    // Subnormal: value = mantissa * 2^-24, exact in float.
    const float magnitude = static_cast<float>(mantissa) * 0x1.0p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

uint16_t f32_to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;  // rounds to 65536 or more
  if (magnitude < 0x38800000) {                        // subnormal: let the float adder round to a multiple of 2^-24
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(shifted) - 0x3f000000);
  }
  const uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
  return sign | static_cast<uint16_t>((rounded - 0x38000000) >> 13);
}

float bf16_to_f32(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t f32_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

}  // namespace sluice
