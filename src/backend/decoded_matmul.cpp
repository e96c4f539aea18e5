#include "backend/decoded_matmul.h"

#include <algorithm>
#include <cstring>

#include "backend/activations.h"

namespace sluice {
namespace {

constexpr int kChunk = kFloatChunk,
              kPanels = 4;  // of one call of the kernel: 16 KiB of float32 or 5 KiB of codes a panel

/// Sixteen rows of `n` values, `bytes` apart, to a panel of float32.
void unpack_values(const OpTable& table, const WeightFormat& format, const uint8_t* rows, size_t bytes, int n,
                   uint8_t* panel) {
  alignas(64) float values[kPanelCols * kChunk];
  for (size_t c = 0; c < kPanelCols; ++c) format.decode(rows + c * bytes, values + c * kChunk, n);
  table.arrange[static_cast<int>(ActForm::f32)](values, kChunk, n, kPanelCols, panel);
}

/// The same to a panel of codes.
void unpack_codes(const WeightFormat& format, const uint8_t* rows, size_t bytes, int n, uint8_t* panel) {
  const size_t heads = static_cast<size_t>(n / kActBlock) * kCodesHeadBytes;
  int8_t codes[kChunk];
  float scales[kChunk / 16];
  for (size_t c = 0; c < kPanelCols; ++c) {
    const uint8_t* at = rows + c * bytes;
    for (int k = 0; k < n; k += format.block_elems, at += format.block_bytes)
      format.codes(at, codes + k, scales + k / 16);
    for (size_t b = 0; b < static_cast<size_t>(n / kActBlock); ++b) {
      std::memcpy(panel + b * kCodesHeadBytes + 4 * c, scales + 2 * b, 4);
      std::memcpy(panel + b * kCodesHeadBytes + 64 + 4 * c, scales + 2 * b + 1, 4);
      uint8_t* const lines = panel + heads + b * kCodesBlockBytes + 4 * c;
      for (size_t g = 0; g < 8; ++g) {
        uint32_t four;
        std::memcpy(&four, codes + kActBlock * b + 4 * g, 4);
        four ^= 0x80808080;
        std::memcpy(lines + 64 * g, &four, 4);
      }
    }
  }
}

size_t unpacked_bytes(const WeightFormat& format, int n) {
  if (format.codes == nullptr) return static_cast<size_t>(n) * kPanelCols * sizeof(float);
  return static_cast<size_t>(n / kActBlock) * (kCodesHeadBytes + kCodesBlockBytes);
}

struct Memory {
  alignas(64) uint8_t panels[kPanels * kChunk * kPanelCols * sizeof(float)];
  alignas(64) float sums[kMaxTileRows * kPanels * kPanelCols];
  alignas(64) float part[kMaxTileRows * kPanels * kPanelCols];
  RowGroup groups[kMaxTileRows];
};

}  // namespace

void decoded_matmul(const OpTable& table, const WeightFormat& format, MatmulFn* kernel, const MatmulTile& tile) {
  static thread_local Memory memory;
  const ActForm form = format.codes != nullptr ? ActForm::q8 : ActForm::f32;
  const int first_row = tile.groups[0].first_row;
  int rows = 0;
  for (int g = 0; g < tile.n_groups; ++g) rows += tile.groups[g].rows;

  MatmulTile part = tile;
  part.panels = memory.panels;
  part.groups = memory.groups;
  part.bias = nullptr;
  part.y_row = first_row;
  part.next = nullptr;
  part.plan.ahead_lines = 0;
  if (part.plan.way == MatmulWay::gemm) part.plan.way = MatmulWay::flat;  // it is unpacked already
  for (int p = 0; p < tile.n_panels; p += kPanels) {
    part.n_panels = std::min(kPanels, tile.n_panels - p);
    part.n_cols = part.n_panels * kPanelCols;
    part.y_stride = part.n_cols;
    const size_t count = static_cast<size_t>(rows * part.n_cols);
    for (int64_t k = 0; k < tile.k; k += kChunk) {
      const int n = static_cast<int>(std::min<int64_t>(kChunk, tile.k - k));
      const size_t bytes = row_bytes(format.dtype, n);
      part.k = n;
      part.panel_bytes = unpacked_bytes(format, n);
      for (int i = 0; i < part.n_panels; ++i) {
        const uint8_t* const from =
            tile.panels + static_cast<size_t>(p + i) * tile.panel_bytes + kPanelCols * row_bytes(format.dtype, k);
        uint8_t* const to = memory.panels + static_cast<size_t>(i) * part.panel_bytes;
        if (format.codes != nullptr)
          unpack_codes(format, from, bytes, n, to);
        else
          unpack_values(table, format, from, bytes, n, to);
      }
      for (int g = 0; g < tile.n_groups; ++g) {
        memory.groups[g] = tile.groups[g];
        memory.groups[g].x = static_cast<const uint8_t*>(tile.groups[g].x) +
                             form_bytes(form, k) * static_cast<size_t>(tile.groups[g].rows);
      }
      part.y = k == 0 ? memory.sums : memory.part;
      kernel(part);
      if (k > 0)
        for (size_t i = 0; i < count; ++i) memory.sums[i] += memory.part[i];
    }
    const int column = p * kPanelCols, columns = std::min(part.n_cols, tile.n_cols - column);
    for (int r = 0; r < rows; ++r) {
      const float* const sum = memory.sums + r * part.n_cols;
      float* const y = tile.y + (first_row + r - tile.y_row) * tile.y_stride + column;
      for (int c = 0; c < columns; ++c) y[c] = tile.bias != nullptr ? sum[c] + tile.bias[column + c] : sum[c];
    }
  }
}

}  // namespace sluice
