#pragma once
// Arguments of the matmul kernels: plain data, no functions, so that files compiled for another ISA may include it.
// This header includes only <cstddef> and <cstdint> (docs/architecture.md, section 5).

#include <cstddef>
#include <cstdint>

namespace sluice {

constexpr int kPanelCols = 16;     // output columns of a weight panel
constexpr int kActBlock = 32;      // activations that share a scale
constexpr int kFloatChunk = 256;   // k values of one float partial sum; the partial sums are added in order
constexpr int kGemvRows = 2;       // the most rows of MatmulWay::gemv
constexpr int kMaxTileRows = 128;  // rows of one MatmulTile

// Version of the layouts below, which native packs hold on disk: any change of one raises it.
constexpr int kPackVersion = 1;

// A packed panel holds 16 output columns c, all of k. Float types: F32 and F16 are [k][16], BF16 is [k / 2][16][2] (one
// 32-bit lane holds two values of a column, the even k below), padded with zeros to an even k.
//
// Block types: [headers][values], the values starting at the next multiple of 64. Values are unsigned (or codes), as in
// QuantBlock. Those of a block of 32 k are lines of 64 bytes; byte 4 c + j of group g's line belongs to k = 4 g + j, j < 4:
//   Q8_0  8 lines, one per group; I8_G128, U8_G128 the same
//   Q4_0  4 lines, line p with group 2 p in the low nibbles and 2 p + 1 in the high ones; Q4_1, Q4_K, IQ4_NL, IQ4_XS, MXFP4,
//         U4_G32, U4_G128 the same
//   Q5_0  4 such lines for the low nibbles, then one line with bit 4 of group g at bit g; Q5_1 and Q5_K the same
//   Q6_K  4 such lines for the low nibbles, then 2 lines h with bits 4-5 of group 4 h + i at bit 2 i
//   Q2_K  2 lines h with group 4 h + i at bit 2 i; TQ2_0 the same
//   Q3_K  2 such lines for bits 0-1, then one line with bit 2 of group g at bit g
// Headers:
//   Q8_0, Q4_0, Q5_0, IQ4_NL  per block: d (float16) [16]
//   Q4_1, Q5_1  per block: d [16], -m [16] (float16)
//   I8_G128  per 128: d [16]
//   U4_G32  per block: the scale (float32) [16], the zero (uint8) [16]; U4_G128, U8_G128 per 128 the same
//   MXFP4  per block: the power of two (E8M0) [16]
//   Q4_K, Q5_K  per 256: d [16], dmin [16], then three lines, byte 16 s + c: low nibbles of scales of sub-block s (bits 0-3)
//         and s + 4 (bits 4-7); the same of minimums; bits 4-5 of scale s, scale s + 4, min s, min s + 4 (bits 0-7 in pairs)
//   Q6_K  per 256: d [16], then scales [16 sub-blocks of 16 k][16] int8
//   Q3_K  per 256: d [16], then the scales and 32 of 16 sub-blocks of 16 k: [8][16] bytes, low nibbles of s and s + 8;
//         [4][16] bytes, bits 4-5 of s + 4 i at bit 2 i
//   IQ4_XS  per 256: d [16], then scales, 32 too large: [4][16] bytes, low nibbles of block s and s + 4; [2][16] bytes, bits 4-5
//         of s + 2 i at bit 2 i
//   TQ2_0  per 256: d [16]
//   Q2_K  per 256: d [16], dmin [16], then [16 sub-blocks of 16 k][16] bytes: scale (low nibble) and minimum (high)
//
// All other types: their blocks as in the file, for kFloatChunk k at a time (fewer at the end) [16][bytes of so many values]. A
// product unpacks such a chunk in the cache (decoded_matmul.h), to float32 as F32 has it, or, where values are integers under a
// scale for each 16 k, to a panel of codes, which never is in memory:
//   codes  headers per block: scales (float32) of both halves, [2][16]; values as Q8_0's, 128 too large
constexpr int kQ8HeadBytes = 32, kQ8BlockBytes = 512;
constexpr int kI8G128HeadBytes = 32, kI8G128BlockBytes = 512;  // a header serves 4 blocks of 32
constexpr int kQ4HeadBytes = 32, kQ4BlockBytes = 256;
constexpr int kQ41HeadBytes = 64, kQ41BlockBytes = 256;
constexpr int kQ5HeadBytes = 32, kQ5BlockBytes = 320;
constexpr int kQ51HeadBytes = 64, kQ51BlockBytes = 320;
constexpr int kGroupHeadBytes = 80;  // of U4_G32, which serves 1 block of 32, and of U4_G128 and U8_G128, which serves 4
constexpr int kU4BlockBytes = 256, kU8BlockBytes = 512;
constexpr int kIq4XsHeadBytes = 128, kIq4XsBlockBytes = 256;  // a header serves 8 blocks of 32
constexpr int kTq2HeadBytes = 32, kTq2BlockBytes = 128;
constexpr int kFp4HeadBytes = 16, kFp4BlockBytes = 256;
constexpr int kCodesHeadBytes = 128, kCodesBlockBytes = 512;
constexpr int kQ2KHeadBytes = 320, kQ2KBlockBytes = 128;
constexpr int kQ3KHeadBytes = 224, kQ3KBlockBytes = 192;
constexpr int kQ4KHeadBytes = 256, kQ4KBlockBytes = 256;  // a header serves 8 blocks of 32
constexpr int kQ5KHeadBytes = 256, kQ5KBlockBytes = 320;
constexpr int kQ6KHeadBytes = 288, kQ6KBlockBytes = 384;

/// One row's activations k in [32 b, 32 b + 32), as int8 with one scale: x = scale * q, |q| <= 127.
struct ActBlock {
  float scale;
  float scaled_sum;  // scale * float(sum of q): what a weight's minimum is multiplied by
  int32_t bias;      // -128 * (sum of q): what an unsigned weight's offset of 128 adds too much
  int32_t bias_lo;   // the same over q[0..15]
  int8_t q[kActBlock];
};

/// How a kernel reads the rows that it multiplies: element e of row r stands at [e][r], over the rows of its group.
enum class ActForm : int {
  f32,        // float per k
  bf16_pair,  // the bits of two bfloat16 in 32, the even k below; an odd k is padded with zero
  q8,         // ActBlock per 32 k
};
constexpr int kNumActForms = 3;

/// Rows that a kernel handles together, in the form that it reads.
struct RowGroup {
  const void* x;
  int rows;
  int first_row;  // row of y
};

/// How a kernel goes over its weights: one row as a stream of many panels at once, several rows with the weights unpacked
/// in registers by each group, or many with a chunk of weights unpacked once into L1.
enum class MatmulWay : uint8_t { gemv, flat, gemm };

/// The choice for a product (matmul_plan.h). Every plan computes the same bits.
struct MatmulPlan {
  MatmulWay way = MatmulWay::flat;
  uint8_t ahead_lines = 32;  // how far a single pass asks memory ahead, in lines of a panel; 0 leaves it to the hardware
};

/// BF16 weights multiply float32 activations, or, in tables that say so (OpTable::bf16_form), activations rounded to
/// bfloat16, in pairs of k, the odd k of a pair first, with every subnormal taken as zero: the arithmetic of AVX512_BF16's
/// vdpbf16ps.
///
/// y[row, c] = sum over k of x[row, k] * w[c, k] + bias[c], for c < n_cols, over whole panels that follow each other.
struct MatmulTile {
  const uint8_t* panels;
  size_t panel_bytes;
  int n_panels;
  int n_cols;  // <= 16 * n_panels: the last panel may be padding in part
  int64_t k;
  const RowGroup* groups;  // together at most kMaxTileRows rows
  int n_groups;
  const float* bias;  // [n_cols] or null
  float* y;           // column of the first panel in row `y_row`
  int y_row;          // rows of the groups count from the batch's first; y may begin at a later one
  int64_t y_stride;
  MatmulPlan plan;
  const uint8_t* next;  // four panels of this type and k that are likely read after these, to be asked for; or null
};

using MatmulFn = void(const MatmulTile& tile);
/// Brings k values of each row, x[r * stride] onwards, into a form: out[elements of k][rows]. For q8, 32 divides k.
using ArrangeFn = void(const float* x, int64_t stride, int64_t k, int rows, void* out);

/// See Peak (op_table.h).
using PeakFn = int64_t(int64_t rounds);

}  // namespace sluice
