#pragma once
// Element types. Block types pack `block_elems` values of one row into `block_bytes` bytes (ggml's layouts, but for
// those that are ours).

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

enum class DType : uint8_t {
  f32, f16, bf16, f64,
  i8, u8, i16, u16, i32, u32, i64, u64, boolean,
  q8_0, q4_0, q4_k, q6_k, q5_0, q5_k, iq4_nl, mxfp4, q4_1, q5_1, q3_k, q2_k,
  i8_g128,  // ours: no file but a native pack has it
  iq4_xs, iq3_s, iq3_xxs, iq2_s, iq2_xs, iq2_xxs, iq1_m, iq1_s, tq2_0, tq1_0, nvfp4,
  f8_e4m3, f8_e5m2,
  u4_g128, u4_g32, u8_g128, u8_g32, f8_g128, f8_g32, nf4_g64,  // ours: what published checkpoints are repacked to (docs/adr/0019)
};
inline constexpr int kNumDTypes = 46;

struct DTypeInfo {
  DType dtype;
  std::string_view name;  // as inspect and errors print it: "F32", "Q4_K"
  int block_elems;
  int block_bytes;
};

const DTypeInfo& dtype_info(DType dtype);
inline std::string_view dtype_name(DType dtype) { return dtype_info(dtype).name; }

/// Bytes of a row of `elems` values; `elems` must be a multiple of the block.
size_t row_bytes(DType dtype, int64_t elems);

float f16_to_f32(uint16_t bits);
/// Rounds to nearest even; overflow becomes infinity.
uint16_t f32_to_f16(float value);
float bf16_to_f32(uint16_t bits);
/// Rounds to nearest even; NaN stays NaN.
uint16_t f32_to_bf16(float value);

}  // namespace sluice
