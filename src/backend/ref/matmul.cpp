#include "backend/ref/matmul.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "quant/weight/value_tables.h"
#include "tensor/dtype.h"

// std::fma is a call of libm where the compiler may not use the instruction. Kernels of this file are compiled for both, in the
// same bits; the loader chooses. (Under sanitizers it cannot: it runs before they do.)
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define SLUICE_WITH_FMA __attribute__((target_clones("fma", "default"), flatten))
#else
#define SLUICE_WITH_FMA
#endif

namespace sluice::ref {
namespace {

float load_f16(const uint8_t* at) {
  uint16_t bits;
  std::memcpy(&bits, at, 2);
  return f16_to_f32(bits);
}

float load_f32(const uint8_t* at) {
  float value;
  std::memcpy(&value, at, 4);
  return value;
}

float no_subnormal(float x) {
  return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x;
}

/// Calls write(column, acc) with acc[row of the tile], and stores what it left there plus the bias.
float plain_sum(float a, float b) { return a + b; }

template <class Columns>
void for_each_column(const MatmulTile& t, Columns columns, float (*add)(float, float) = plain_sum) {
  for (int c = 0; c < t.n_cols; ++c) {
    float acc[kMaxTileRows] = {};
    columns(t.panels + static_cast<size_t>(c / kPanelCols) * t.panel_bytes, c % kPanelCols, acc);
    for (int g = 0, row = 0; g < t.n_groups; ++g)
      for (int r = 0; r < t.groups[g].rows; ++r, ++row) {
        float* y = t.y + (t.groups[g].first_row - t.y_row + r) * t.y_stride + c;
        *y = t.bias != nullptr ? add(acc[row], t.bias[c]) : acc[row];
      }
  }
}

/// `value(panel, c, k)`: one weight. Partial sums of kFloatChunk fused multiply-adds, added in order.
template <class Value>
void float_matmul(const MatmulTile& t, Value value) {
  for_each_column(t, [&](const uint8_t* panel, int c, float* acc) {
    for (int64_t k0 = 0; k0 < t.k; k0 += kFloatChunk) {
      const int n = static_cast<int>(k0 + kFloatChunk < t.k ? kFloatChunk : t.k - k0);
      float w[kFloatChunk];
      for (int i = 0; i < n; ++i) w[i] = value(panel, c, k0 + i);
      for (int g = 0, row = 0; g < t.n_groups; ++g)
        for (int r = 0; r < t.groups[g].rows; ++r, ++row) {
          const float* x = static_cast<const float*>(t.groups[g].x) + k0 * t.groups[g].rows + r;
          float sum = 0;
          for (int i = 0; i < n; ++i) sum = std::fma(x[i * t.groups[g].rows], w[i], sum);
          acc[row] += sum;
        }
    }
  });
}

/// One column's weights of 32 k: q is signed already, half h of 16 may have its own scale and minimum.
struct Block {
  float scale[2];
  float min[2];
  int q[kActBlock];
};

constexpr int round_up_64(int64_t bytes) { return static_cast<int>((bytes + 63) / 64 * 64); }

/// `read(head, values, c, b, out)`. With two scales the halves' sums enter one after the other; a minimum comes last.
template <int kHeadBytes, int kHeadBlocks, int kBlockBytes, bool kTwoScales, bool kMin, class Read>
void block_matmul(const MatmulTile& t, Read read) {
  const int64_t blocks = t.k / kActBlock;
  const int64_t head_bytes = round_up_64(blocks / kHeadBlocks * kHeadBytes);
  for_each_column(t, [&](const uint8_t* panel, int c, float* acc) {
    for (int64_t b = 0; b < blocks; ++b) {
      Block w{};
      read(panel + b / kHeadBlocks * kHeadBytes, panel + head_bytes + b * kBlockBytes, c, static_cast<int>(b % kHeadBlocks), w);
      for (int g = 0, row = 0; g < t.n_groups; ++g)
        for (int r = 0; r < t.groups[g].rows; ++r, ++row) {
          const ActBlock& x = static_cast<const ActBlock*>(t.groups[g].x)[b * t.groups[g].rows + r];
          int dot[2] = {};
          for (int i = 0; i < kActBlock; ++i) dot[i / 16] += w.q[i] * x.q[i];
          float& sum = acc[row];
          if (kTwoScales) {
            sum = std::fma(static_cast<float>(dot[0]), w.scale[0] * x.scale, sum);
            sum = std::fma(static_cast<float>(dot[1]), w.scale[1] * x.scale, sum);
          } else {
            sum = std::fma(static_cast<float>(dot[0] + dot[1]), w.scale[0] * x.scale, sum);
          }
          if (kMin && kTwoScales) {
            const int low = x.bias_lo / -128, high = x.bias / -128 - low;
            sum = std::fma(-w.min[0], x.scale * static_cast<float>(low), sum);
            sum = std::fma(-w.min[1], x.scale * static_cast<float>(high), sum);
          } else if (kMin) {
            sum = std::fma(-w.min[0], x.scaled_sum, sum);
          }
        }
    }
  });
}

int nibble(const uint8_t* lines, int c, int k) {
  const int g = k / 4;
  return lines[64 * (g / 2) + 4 * c + k % 4] >> (4 * (g % 2)) & 15;
}

int single_bit(const uint8_t* line, int c, int k) { return line[4 * c + k % 4] >> (k / 4) & 1; }
int fifth_bit(const uint8_t* line, int c, int k) { return single_bit(line, c, k) << 4; }
int bit_pair(const uint8_t* lines, int c, int k) { return lines[64 * (k / 16) + 4 * c + k % 4] >> (k / 4 % 4 * 2) & 3; }

// The header of U4_G32, U4_G128 and U8_G128.
void read_group(const uint8_t* head, int c, Block& w) {
  w.scale[0] = load_f32(head + 4 * c);
  w.min[0] = w.scale[0] * static_cast<float>(head[64 + c]);
}

void read_u4(const uint8_t* head, const uint8_t* values, int c, int, Block& w) {
  read_group(head, c, w);
  for (int k = 0; k < kActBlock; ++k) w.q[k] = nibble(values, c, k);
}

// Of sub-block `sub` of 8, from the header of Q4_K and Q5_K.
void read_scale_and_min(const uint8_t* head, int c, int sub, Block& w) {
  const int at = 16 * (sub % 4) + c, upper = sub / 4;
  const int scale = (head[64 + at] >> (4 * upper) & 15) | (head[192 + at] >> (2 * upper) & 3) << 4;
  const int min = (head[128 + at] >> (4 * upper) & 15) | (head[192 + at] >> (4 + 2 * upper) & 3) << 4;
  w.scale[0] = load_f16(head + 2 * c) * static_cast<float>(scale);
  w.min[0] = load_f16(head + 32 + 2 * c) * static_cast<float>(min);
}

}  // namespace

SLUICE_WITH_FMA void matmul_f32(const MatmulTile& t) {
  float_matmul(t, [](const uint8_t* panel, int c, int64_t k) {
    float v;
    std::memcpy(&v, panel + (k * kPanelCols + c) * 4, 4);
    return v;
  });
}

SLUICE_WITH_FMA void matmul_f16(const MatmulTile& t) {
  float_matmul(t, [](const uint8_t* panel, int c, int64_t k) { return load_f16(panel + (k * kPanelCols + c) * 2); });
}

SLUICE_WITH_FMA void matmul_bf16(const MatmulTile& t) {
  float_matmul(t, [](const uint8_t* panel, int c, int64_t k) {
    uint16_t bits;
    std::memcpy(&bits, panel + (k / 2 * kPanelCols + c) * 4 + k % 2 * 2, 2);
    return bf16_to_f32(bits);
  });
}

SLUICE_WITH_FMA void matmul_bf16_pairs(const MatmulTile& t) {
  const auto half = [&](uint32_t pair, bool odd) { return no_subnormal(bf16_to_f32(static_cast<uint16_t>(odd ? pair >> 16 : pair))); };
  for_each_column(t, [&](const uint8_t* panel, int c, float* acc) {
    for (int64_t k0 = 0; k0 < t.k; k0 += kFloatChunk) {
      const int64_t end = std::min(k0 + kFloatChunk, t.k + 1) / 2;
      for (int g = 0, row = 0; g < t.n_groups; ++g)
        for (int r = 0; r < t.groups[g].rows; ++r, ++row) {
          float sum = 0;
          for (int64_t i = k0 / 2; i < end; ++i) {
            const uint32_t x = static_cast<const uint32_t*>(t.groups[g].x)[i * t.groups[g].rows + r];
            uint32_t w;
            std::memcpy(&w, panel + (i * kPanelCols + c) * 4, 4);
            for (const bool odd : {true, false}) sum = no_subnormal(std::fma(half(x, odd), half(w, odd), sum));
          }
          acc[row] = no_subnormal(acc[row] + sum);
        }
    }
  }, [](float sum, float bias) { return no_subnormal(sum + no_subnormal(bias)); });
}

SLUICE_WITH_FMA void matmul_q8_0(const MatmulTile& t) {
  block_matmul<kQ8HeadBytes, 1, kQ8BlockBytes, false, false>(
      t, [](const uint8_t* head, const uint8_t* values, int c, int, Block& w) {
        w.scale[0] = load_f16(head + 2 * c);
        for (int k = 0; k < kActBlock; ++k) w.q[k] = values[64 * (k / 4) + 4 * c + k % 4] - 128;
      });
}

// A scale serves kScaleBlocks blocks: their sums add up under the activations' scales, and enter under it as one.
SLUICE_WITH_FMA void matmul_i8_g128(const MatmulTile& t) {
  constexpr int kScaleBlocks = 4;
  const int64_t groups = t.k / (kScaleBlocks * kActBlock);
  const int64_t head_bytes = round_up_64(groups * kI8G128HeadBytes);
  for_each_column(t, [&](const uint8_t* panel, int c, float* acc) {
    for (int64_t s = 0; s < groups; ++s) {
      const float scale = load_f16(panel + s * kI8G128HeadBytes + 2 * c);
      const uint8_t* values = panel + head_bytes + s * kScaleBlocks * kI8G128BlockBytes;
      for (int g = 0, row = 0; g < t.n_groups; ++g)
        for (int r = 0; r < t.groups[g].rows; ++r, ++row) {
          float part = 0;
          for (int b = 0; b < kScaleBlocks; ++b) {
            const ActBlock& x = static_cast<const ActBlock*>(t.groups[g].x)[(s * kScaleBlocks + b) * t.groups[g].rows + r];
            int dot = 0;
            for (int k = 0; k < kActBlock; ++k)
              dot += (values[b * kI8G128BlockBytes + 64 * (k / 4) + 4 * c + k % 4] - 128) * x.q[k];
            part = std::fma(static_cast<float>(dot), x.scale, part);
          }
          acc[row] = std::fma(part, scale, acc[row]);
        }
    }
  });
}

SLUICE_WITH_FMA void matmul_q4_0(const MatmulTile& t) {
  block_matmul<kQ4HeadBytes, 1, kQ4BlockBytes, false, false>(
      t, [](const uint8_t* head, const uint8_t* values, int c, int, Block& w) {
        w.scale[0] = load_f16(head + 2 * c);
        for (int k = 0; k < kActBlock; ++k) w.q[k] = nibble(values, c, k) - 8;
      });
}

SLUICE_WITH_FMA void matmul_q4_1(const MatmulTile& t) {
  block_matmul<kQ41HeadBytes, 1, kQ41BlockBytes, false, true>(
      t, [](const uint8_t* head, const uint8_t* values, int c, int, Block& w) {
        w.scale[0] = load_f16(head + 2 * c);
        w.min[0] = load_f16(head + 32 + 2 * c);
        for (int k = 0; k < kActBlock; ++k) w.q[k] = nibble(values, c, k);
      });
}

SLUICE_WITH_FMA void matmul_q5_0(const MatmulTile& t) {
  block_matmul<kQ5HeadBytes, 1, kQ5BlockBytes, false, false>(
      t, [](const uint8_t* head, const uint8_t* values, int c, int, Block& w) {
        w.scale[0] = load_f16(head + 2 * c);
        for (int k = 0; k < kActBlock; ++k) w.q[k] = (nibble(values, c, k) | fifth_bit(values + 256, c, k)) - 16;
      });
}

SLUICE_WITH_FMA void matmul_q5_1(const MatmulTile& t) {
  block_matmul<kQ51HeadBytes, 1, kQ51BlockBytes, false, true>(
      t, [](const uint8_t* head, const uint8_t* values, int c, int, Block& w) {
        w.scale[0] = load_f16(head + 2 * c);
        w.min[0] = load_f16(head + 32 + 2 * c);
        for (int k = 0; k < kActBlock; ++k) w.q[k] = nibble(values, c, k) | fifth_bit(values + 256, c, k);
      });
}

SLUICE_WITH_FMA void matmul_iq4_nl(const MatmulTile& t) {
  block_matmul<kQ4HeadBytes, 1, kQ4BlockBytes, false, false>(
      t, [](const uint8_t* head, const uint8_t* values, int c, int, Block& w) {
        w.scale[0] = load_f16(head + 2 * c);
        for (int k = 0; k < kActBlock; ++k) w.q[k] = kIq4NlValues[nibble(values, c, k)];
      });
}

SLUICE_WITH_FMA void matmul_mxfp4(const MatmulTile& t) {
  block_matmul<kFp4HeadBytes, 1, kFp4BlockBytes, false, false>(
      t, [](const uint8_t* head, const uint8_t* values, int c, int, Block& w) {
        w.scale[0] = std::ldexp(1.0f, head[c] - 128);  // half: the values are doubled
        for (int k = 0; k < kActBlock; ++k) w.q[k] = kE2M1Doubled[nibble(values, c, k)];
      });
}

SLUICE_WITH_FMA void matmul_u4_g128(const MatmulTile& t) {
  block_matmul<kGroupHeadBytes, 4, kU4BlockBytes, false, true>(t, read_u4);
}

SLUICE_WITH_FMA void matmul_u4_g32(const MatmulTile& t) { block_matmul<kGroupHeadBytes, 1, kU4BlockBytes, false, true>(t, read_u4); }

SLUICE_WITH_FMA void matmul_u8_g128(const MatmulTile& t) {
  block_matmul<kGroupHeadBytes, 4, kU8BlockBytes, false, true>(
      t, [](const uint8_t* head, const uint8_t* values, int c, int, Block& w) {
        read_group(head, c, w);
        for (int k = 0; k < kActBlock; ++k) w.q[k] = values[64 * (k / 4) + 4 * c + k % 4];
      });
}

SLUICE_WITH_FMA void matmul_iq4_xs(const MatmulTile& t) {
  block_matmul<kIq4XsHeadBytes, 8, kIq4XsBlockBytes, false, false>(
      t, [](const uint8_t* head, const uint8_t* values, int c, int s, Block& w) {
        const int low = head[32 + 16 * (s % 4) + c] >> (4 * (s / 4)) & 15;
        const int upper = head[96 + 16 * (s % 2) + c] >> (2 * (s / 2)) & 3;
        w.scale[0] = load_f16(head + 2 * c) * static_cast<float>((low | upper << 4) - 32);
        for (int k = 0; k < kActBlock; ++k) w.q[k] = kIq4NlValues[nibble(values, c, k)];
      });
}

SLUICE_WITH_FMA void matmul_tq2_0(const MatmulTile& t) {
  block_matmul<kTq2HeadBytes, 8, kTq2BlockBytes, false, false>(
      t, [](const uint8_t* head, const uint8_t* values, int c, int, Block& w) {
        w.scale[0] = load_f16(head + 2 * c);
        for (int k = 0; k < kActBlock; ++k) w.q[k] = bit_pair(values, c, k) - 1;
      });
}

SLUICE_WITH_FMA void matmul_codes(const MatmulTile& t) {
  block_matmul<kCodesHeadBytes, 1, kCodesBlockBytes, true, false>(
      t, [](const uint8_t* head, const uint8_t* values, int c, int, Block& w) {
        for (int h = 0; h < 2; ++h) w.scale[h] = load_f32(head + 64 * h + 4 * c);
        for (int k = 0; k < kActBlock; ++k) w.q[k] = values[64 * (k / 4) + 4 * c + k % 4] - 128;
      });
}

SLUICE_WITH_FMA void matmul_q2_k(const MatmulTile& t) {
  block_matmul<kQ2KHeadBytes, 8, kQ2KBlockBytes, true, true>(
      t, [](const uint8_t* head, const uint8_t* values, int c, int sub, Block& w) {
        const float d = load_f16(head + 2 * c), dmin = load_f16(head + 32 + 2 * c);
        for (int h = 0; h < 2; ++h) {
          const uint8_t both = head[64 + 16 * (2 * sub + h) + c];
          w.scale[h] = d * static_cast<float>(both & 15);
          w.min[h] = dmin * static_cast<float>(both >> 4);
        }
        for (int k = 0; k < kActBlock; ++k) w.q[k] = bit_pair(values, c, k);
      });
}

SLUICE_WITH_FMA void matmul_q3_k(const MatmulTile& t) {
  block_matmul<kQ3KHeadBytes, 8, kQ3KBlockBytes, true, false>(
      t, [](const uint8_t* head, const uint8_t* values, int c, int sub, Block& w) {
        const float d = load_f16(head + 2 * c);
        for (int h = 0; h < 2; ++h) {
          const int s = 2 * sub + h;
          const int low = head[32 + 16 * (s % 8) + c] >> (s < 8 ? 0 : 4) & 15;
          const int upper = head[160 + 16 * (s % 4) + c] >> (2 * (s / 4)) & 3;
          w.scale[h] = d * static_cast<float>((low | upper << 4) - 32);
        }
        for (int k = 0; k < kActBlock; ++k) w.q[k] = (bit_pair(values, c, k) | single_bit(values + 128, c, k) << 2) - 4;
      });
}

SLUICE_WITH_FMA void matmul_q4_k(const MatmulTile& t) {
  block_matmul<kQ4KHeadBytes, 8, kQ4KBlockBytes, false, true>(
      t, [](const uint8_t* head, const uint8_t* values, int c, int sub, Block& w) {
        read_scale_and_min(head, c, sub, w);
        for (int k = 0; k < kActBlock; ++k) w.q[k] = nibble(values, c, k);
      });
}

SLUICE_WITH_FMA void matmul_q5_k(const MatmulTile& t) {
  block_matmul<kQ5KHeadBytes, 8, kQ5KBlockBytes, false, true>(
      t, [](const uint8_t* head, const uint8_t* values, int c, int sub, Block& w) {
        read_scale_and_min(head, c, sub, w);
        for (int k = 0; k < kActBlock; ++k) w.q[k] = nibble(values, c, k) | fifth_bit(values + 256, c, k);
      });
}

SLUICE_WITH_FMA void matmul_q6_k(const MatmulTile& t) {
  block_matmul<kQ6KHeadBytes, 8, kQ6KBlockBytes, true, false>(
      t, [](const uint8_t* head, const uint8_t* values, int c, int sub, Block& w) {
        const float d = load_f16(head + 2 * c);
        for (int h = 0; h < 2; ++h)
          w.scale[h] = d * static_cast<float>(static_cast<int8_t>(head[32 + 16 * (2 * sub + h) + c]));
        for (int k = 0; k < kActBlock; ++k) w.q[k] = (nibble(values, c, k) | bit_pair(values + 256, c, k) << 4) - 32;
      });
}

void arrange_f32(const float* x, int64_t stride, int64_t k, int rows, void* out) {
  for (int64_t i = 0; i < k; ++i)
    for (int r = 0; r < rows; ++r) static_cast<float*>(out)[i * rows + r] = x[r * stride + i];
}

void arrange_pairs(const float* x, int64_t stride, int64_t k, int rows, void* out) {
  for (int64_t i = 0; i < k; i += 2)
    for (int r = 0; r < rows; ++r) {
      const float* pair = x + r * stride + i;
      const uint32_t low = f32_to_bf16(no_subnormal(pair[0])), high = i + 1 < k ? f32_to_bf16(no_subnormal(pair[1])) : 0;
      static_cast<uint32_t*>(out)[i / 2 * rows + r] = low | high << 16;
    }
}

void arrange_q8(const float* x, int64_t stride, int64_t k, int rows, void* out) {
  for (int r = 0; r < rows; ++r)
    for (int64_t b = 0; b < k / kActBlock; ++b) {
      const float* in = x + r * stride + b * kActBlock;
      ActBlock& o = static_cast<ActBlock*>(out)[b * rows + r];
      // Compared as bits, so that a NaN counts as largest.
      uint32_t top = 0;
      for (int i = 0; i < kActBlock; ++i) {
        const uint32_t bits = std::bit_cast<uint32_t>(in[i]) & 0x7fffffff;
        if (bits > top) top = bits;
      }
      const float largest = std::bit_cast<float>(top);
      float inverse = 0;
      o.scale = 0;  // values below 2^-100 are zero
      if (top >= 0x7f800000) o.scale = std::bit_cast<float>(0x7fc00000);
      else if (largest >= 0x1p-100f) {
        o.scale = largest / 127.0f;
        inverse = 127.0f / largest;
      }
      int sum[2] = {};
      for (int i = 0; i < kActBlock; ++i) {
        o.q[i] = inverse == 0 ? int8_t{0} : static_cast<int8_t>(std::lrintf(in[i] * inverse));
        sum[i / 16] += o.q[i];
      }
      o.scaled_sum = o.scale * static_cast<float>(sum[0] + sum[1]);
      o.bias = -128 * (sum[0] + sum[1]);
      o.bias_lo = -128 * sum[0];
    }
}

}  // namespace sluice::ref

#undef SLUICE_WITH_FMA
