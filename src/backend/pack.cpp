#include "backend/pack.h"

#include <algorithm>
#include <cstring>

#include "backend/kernel_args.h"
#include "base/check.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

size_t round_up_64(int64_t bytes) { return static_cast<size_t>((bytes + 63) / 64 * 64); }

struct BlockLayout { int head_bytes, head_blocks, block_bytes; };

BlockLayout block_layout(DType dtype) {
  switch (dtype) {
    case DType::q8_0: return {kQ8HeadBytes, 1, kQ8BlockBytes};
    case DType::i8_g128: return {kI8G128HeadBytes, 4, kI8G128BlockBytes};
    case DType::q4_0: case DType::iq4_nl: return {kQ4HeadBytes, 1, kQ4BlockBytes};
    case DType::q4_1: return {kQ41HeadBytes, 1, kQ41BlockBytes};
    case DType::u4_g32: return {kGroupHeadBytes, 1, kU4BlockBytes};
    case DType::u4_g128: return {kGroupHeadBytes, 4, kU4BlockBytes};
    case DType::u8_g128: return {kGroupHeadBytes, 4, kU8BlockBytes};
    case DType::iq4_xs: return {kIq4XsHeadBytes, 8, kIq4XsBlockBytes};
    case DType::tq2_0: return {kTq2HeadBytes, 8, kTq2BlockBytes};
    case DType::mxfp4: return {kFp4HeadBytes, 1, kFp4BlockBytes};
    case DType::q5_0: return {kQ5HeadBytes, 1, kQ5BlockBytes};
    case DType::q5_1: return {kQ51HeadBytes, 1, kQ51BlockBytes};
    case DType::q2_k: return {kQ2KHeadBytes, 8, kQ2KBlockBytes};
    case DType::q3_k: return {kQ3KHeadBytes, 8, kQ3KBlockBytes};
    case DType::q4_k: return {kQ4KHeadBytes, 8, kQ4KBlockBytes};
    case DType::q5_k: return {kQ5KHeadBytes, 8, kQ5KBlockBytes};
    case DType::q6_k: return {kQ6KHeadBytes, 8, kQ6KBlockBytes};
    default: return {};
  }
}

bool is_group_type(DType dtype) { return dtype == DType::u4_g32 || dtype == DType::u4_g128 || dtype == DType::u8_g128; }

void put_u16(uint8_t* at, uint16_t v) { std::memcpy(at, &v, 2); }

// Column c's values of one block of 32 into its lines (zeroed before).
void put_bytes(const uint8_t* q, int c, uint8_t* lines) {
  for (int g = 0; g < 8; ++g) std::memcpy(lines + 64 * g + 4 * c, q + 4 * g, 4);
}
void put_nibbles(const uint8_t* q, int c, uint8_t* lines) {
  for (int p = 0; p < 4; ++p)
    for (int j = 0; j < 4; ++j)
      lines[64 * p + 4 * c + j] = static_cast<uint8_t>((q[8 * p + j] & 15) | (q[8 * p + 4 + j] & 15) << 4);
}
// Bit `bit` of each value, into one line; bits `bit` and `bit` + 1, into two.
void put_single_bits(const uint8_t* q, int bit, int c, uint8_t* line) {
  for (int i = 0; i < 32; ++i) line[4 * c + i % 4] |= static_cast<uint8_t>((q[i] >> bit & 1) << (i / 4));
}
void put_bit_pairs(const uint8_t* q, int bit, int c, uint8_t* lines) {
  for (int i = 0; i < 32; ++i)
    lines[64 * (i / 16) + 4 * c + i % 4] |= static_cast<uint8_t>((q[i] >> bit & 3) << (i / 4 % 4 * 2));
}

// Those of Q4_K and Q5_K, but for d.
void put_scales_and_mins(const QuantBlock& b, int c, uint8_t* head) {
  put_u16(head + 32 + 2 * c, b.dmin);
  for (int s = 0; s < 4; ++s) {
    const int at = 16 * s + c;
    head[64 + at] = static_cast<uint8_t>((b.scale[s] & 15) | (b.scale[s + 4] & 15) << 4);
    head[128 + at] = static_cast<uint8_t>((b.min[s] & 15) | (b.min[s + 4] & 15) << 4);
    head[192 + at] = static_cast<uint8_t>(b.scale[s] >> 4 | b.scale[s + 4] >> 4 << 2 | b.min[s] >> 4 << 4 |
                                          b.min[s + 4] >> 4 << 6);
  }
}

// One block of the file's type, of column c, into its header and its values.
void put_block(DType dtype, const QuantBlock& b, int c, uint8_t* head, uint8_t* values) {
  if (dtype == DType::mxfp4) {
    head[c] = b.scale[0];
  } else if (is_group_type(dtype)) {
    std::memcpy(head + 4 * c, b.scale, 4);
    head[64 + c] = b.min[0];
  } else {
    put_u16(head + 2 * c, b.d);
  }
  switch (dtype) {
    case DType::u4_g32: put_nibbles(b.q, c, values); break;
    case DType::u4_g128:
      for (int s = 0; s < 4; ++s) put_nibbles(b.q + 32 * s, c, values + s * kU4BlockBytes);
      break;
    case DType::u8_g128:
      for (int s = 0; s < 4; ++s) put_bytes(b.q + 32 * s, c, values + s * kU8BlockBytes);
      break;
    case DType::q8_0: put_bytes(b.q, c, values); break;
    case DType::i8_g128:
      for (int s = 0; s < 4; ++s) put_bytes(b.q + 32 * s, c, values + s * kI8G128BlockBytes);
      break;
    case DType::q4_0: case DType::iq4_nl: case DType::mxfp4: put_nibbles(b.q, c, values); break;
    case DType::q4_1:
      put_u16(head + 32 + 2 * c, b.dmin);
      put_nibbles(b.q, c, values);
      break;
    case DType::q5_1:
      put_u16(head + 32 + 2 * c, b.dmin);
      [[fallthrough]];
    case DType::q5_0:
      put_nibbles(b.q, c, values);
      put_single_bits(b.q, 4, c, values + 256);
      break;
    case DType::iq4_xs:
      for (int s = 0; s < 8; ++s) {
        head[32 + 16 * (s % 4) + c] |= static_cast<uint8_t>((b.scale[s] & 15) << (4 * (s / 4)));
        head[96 + 16 * (s % 2) + c] |= static_cast<uint8_t>(b.scale[s] >> 4 << (2 * (s / 2)));
        put_nibbles(b.q + 32 * s, c, values + s * kIq4XsBlockBytes);
      }
      break;
    case DType::tq2_0:
      for (int s = 0; s < 8; ++s) put_bit_pairs(b.q + 32 * s, 0, c, values + s * kTq2BlockBytes);
      break;
    case DType::q2_k:
      put_u16(head + 32 + 2 * c, b.dmin);
      for (int s = 0; s < 16; ++s) head[64 + 16 * s + c] = static_cast<uint8_t>(b.scale[s] | b.min[s] << 4);
      for (int s = 0; s < 8; ++s) put_bit_pairs(b.q + 32 * s, 0, c, values + s * kQ2KBlockBytes);
      break;
    case DType::q3_k:
      for (int s = 0; s < 16; ++s) {
        head[32 + 16 * (s % 8) + c] |= static_cast<uint8_t>((b.scale[s] & 15) << (s < 8 ? 0 : 4));
        head[160 + 16 * (s % 4) + c] |= static_cast<uint8_t>(b.scale[s] >> 4 << (2 * (s / 4)));
      }
      for (int s = 0; s < 8; ++s) {
        put_bit_pairs(b.q + 32 * s, 0, c, values + s * kQ3KBlockBytes);
        put_single_bits(b.q + 32 * s, 2, c, values + s * kQ3KBlockBytes + 128);
      }
      break;
    case DType::q4_k:
      put_scales_and_mins(b, c, head);
      for (int s = 0; s < 8; ++s) put_nibbles(b.q + 32 * s, c, values + s * kQ4KBlockBytes);
      break;
    case DType::q5_k:
      put_scales_and_mins(b, c, head);
      for (int s = 0; s < 8; ++s) {
        put_nibbles(b.q + 32 * s, c, values + s * kQ5KBlockBytes);
        put_single_bits(b.q + 32 * s, 4, c, values + s * kQ5KBlockBytes + 256);
      }
      break;
    case DType::q6_k:
      for (int s = 0; s < 16; ++s) head[32 + 16 * s + c] = b.scale[s];
      for (int s = 0; s < 8; ++s) {
        put_nibbles(b.q + 32 * s, c, values + s * kQ6KBlockBytes);
        put_bit_pairs(b.q + 32 * s, 4, c, values + s * kQ6KBlockBytes + 256);
      }
      break;
    default: CHECK(false, "{} has no packed form", dtype_name(dtype));
  }
}

}  // namespace

PanelKind panel_kind(DType dtype) {
  if (dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16) return PanelKind::floats;
  if (block_layout(dtype).block_bytes > 0) return PanelKind::blocks;
  return weight_format(dtype) != nullptr ? PanelKind::as_in_file : PanelKind::none;
}

bool is_block_type(DType dtype) {
  const PanelKind kind = panel_kind(dtype);
  return kind == PanelKind::blocks || (kind == PanelKind::as_in_file && weight_format(dtype)->codes != nullptr);
}

size_t panel_bytes(DType dtype, int64_t k) {
  if (dtype == DType::f32) return static_cast<size_t>(k) * kPanelCols * 4;
  if (dtype == DType::f16) return static_cast<size_t>(k) * kPanelCols * 2;
  if (dtype == DType::bf16) return static_cast<size_t>((k + 1) / 2) * kPanelCols * 4;
  if (panel_kind(dtype) == PanelKind::none) return 0;
  if (panel_kind(dtype) == PanelKind::as_in_file) return kPanelCols * row_bytes(dtype, k);
  const BlockLayout l = block_layout(dtype);
  CHECK(k % (kActBlock * l.head_blocks) == 0, "{} rows hold whole blocks only, not {} values", dtype_name(dtype), k);
  const int64_t blocks = k / kActBlock;
  return round_up_64(blocks / l.head_blocks * l.head_bytes) + static_cast<size_t>(blocks) * static_cast<size_t>(l.block_bytes);
}

PanelParts panel_parts(DType dtype, int64_t k) {
  const BlockLayout l = block_layout(dtype);
  return {static_cast<size_t>(l.head_bytes), round_up_64(k / kActBlock / l.head_blocks * l.head_bytes),
          static_cast<size_t>(l.block_bytes) * static_cast<size_t>(l.head_blocks)};
}

void pack_panel(const TensorView& w, int64_t panel, uint8_t* out) {
  const int64_t k = w.cols(), first = panel * kPanelCols;
  const int columns = static_cast<int>(std::min<int64_t>(kPanelCols, w.rows() - first));
  std::memset(out, 0, panel_bytes(w.dtype, k));
  if (panel_kind(w.dtype) == PanelKind::as_in_file) {
    for (int64_t k0 = 0, n; k0 < k; k0 += n, out += kPanelCols * row_bytes(w.dtype, n)) {
      n = std::min<int64_t>(kFloatChunk, k - k0);
      const size_t bytes = row_bytes(w.dtype, n), before = row_bytes(w.dtype, k0);
      for (int c = 0; c < columns; ++c)
        std::memcpy(out + static_cast<size_t>(c) * bytes, static_cast<const uint8_t*>(w.row(first + c)) + before, bytes);
    }
    return;
  }
  if (is_block_type(w.dtype)) {
    const WeightFormat& format = *weight_format(w.dtype);
    const BlockLayout l = block_layout(w.dtype);
    const int64_t supers = k / format.block_elems;
    uint8_t* values = out + round_up_64(supers * l.head_bytes);
    const int64_t value_bytes = int64_t{l.block_bytes} * l.head_blocks;
    QuantBlock block;
    for (int64_t b = 0; b < supers; ++b)
      for (int c = 0; c < columns; ++c) {
        format.unpack(static_cast<const uint8_t*>(w.row(first + c)) + b * format.block_bytes, &block);
        put_block(w.dtype, block, c, out + b * l.head_bytes, values + b * value_bytes);
      }
    return;
  }
  for (int c = 0; c < columns; ++c) {
    const auto* row = static_cast<const uint8_t*>(w.row(first + c));
    if (w.dtype == DType::f32)
      for (int64_t i = 0; i < k; ++i) std::memcpy(out + (i * kPanelCols + c) * 4, row + 4 * i, 4);
    else if (w.dtype == DType::f16)
      for (int64_t i = 0; i < k; ++i) std::memcpy(out + (i * kPanelCols + c) * 2, row + 2 * i, 2);
    else
      for (int64_t i = 0; i < k; ++i) std::memcpy(out + (i / 2 * kPanelCols + c) * 4 + i % 2 * 2, row + 2 * i, 2);
  }
}

}  // namespace sluice
