#include "backend/unpack.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <vector>

#include "backend/kernel_args.h"
#include "backend/op_meter.h"
#include "backend/pack.h"
#include "base/check.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr uint32_t kNobody = UINT32_MAX;

// Bits of one byte of the panel that go to one byte of the block, all by the same shift.
struct Move {
  uint32_t from;  // byte of a panel of one block
  uint16_t to;    // byte of the block
  int8_t shift;   // to the right
  uint8_t mask;   // of the block's byte
  uint8_t flip;   // of the panel's byte: the bits that packing inverts
};

// For each column, how a block is gathered from a panel that holds one block per column.
using BlockMoves = std::array<std::vector<Move>, kPanelCols>;

// Packing a block only moves bits, and inverts some. Where each went is found by packing rows of probes: in the j-th, a
// bit is set when bit j of its own number is, so that a panel's bit spells over all probes the number of the bit that
// it holds.
BlockMoves find_moves(DType dtype) {
  const WeightFormat& format = *weight_format(dtype);
  const size_t block_bytes = static_cast<size_t>(format.block_bytes), panel = panel_bytes(dtype, format.block_elems);
  const uint32_t bits = static_cast<uint32_t>(kPanelCols * block_bytes * 8);
  std::vector<uint8_t> rows(kPanelCols * block_bytes), zeros(panel), ones(panel), packed(panel);
  const TensorView view{rows.data(), dtype, Shape{kPanelCols, format.block_elems}};
  pack_panel(view, 0, zeros.data());
  std::fill(rows.begin(), rows.end(), uint8_t{0xff});
  pack_panel(view, 0, ones.data());
  std::vector<uint32_t> source(panel * 8);
  for (int j = 0; bits >> j != 0; ++j) {
    std::fill(rows.begin(), rows.end(), uint8_t{0});
    for (uint32_t i = 0; i < bits; ++i)
      if ((i >> j & 1) != 0) rows[i / 8] = static_cast<uint8_t>(rows[i / 8] | 1 << i % 8);
    pack_panel(view, 0, packed.data());
    for (size_t p = 0; p < source.size(); ++p)
      source[p] |= static_cast<uint32_t>((packed[p / 8] ^ zeros[p / 8]) >> p % 8 & 1) << j;
  }
  std::vector<uint32_t> place(bits, kNobody);
  for (size_t p = 0; p < source.size(); ++p) {
    if (((ones[p / 8] ^ zeros[p / 8]) >> p % 8 & 1) == 0) continue;  // padding
    CHECK(source[p] < bits && place[source[p]] == kNobody, "packing {} is no permutation of its bits",
          dtype_name(dtype));
    place[source[p]] = static_cast<uint32_t>(p);
  }

  BlockMoves moves;
  for (uint32_t i = 0; i < bits; ++i) {
    CHECK(place[i] != kNobody, "packing {} loses bit {} of a block", dtype_name(dtype), i % (block_bytes * 8));
    std::vector<Move>& column = moves[i / (block_bytes * 8)];
    const uint32_t from = place[i] / 8;
    const auto to = static_cast<uint16_t>(i / 8 % block_bytes);
    const auto shift = static_cast<int8_t>(static_cast<int>(place[i] % 8) - static_cast<int>(i % 8));
    if (column.empty() || column.back().from != from || column.back().to != to || column.back().shift != shift)
      column.push_back({from, to, shift, 0, zeros[from]});
    column.back().mask = static_cast<uint8_t>(column.back().mask | 1 << i % 8);
  }
  return moves;
}

const BlockMoves& moves_of(DType dtype) {
  static std::once_flag found[kNumDTypes];
  static BlockMoves moves[kNumDTypes];
  const auto at = static_cast<size_t>(dtype);
  std::call_once(found[at], [&] { moves[at] = find_moves(dtype); });
  return moves[at];
}

}  // namespace

void unpack_row(const PackedMatrix& w, int64_t row, uint8_t* out) {
  const uint8_t* const panel = w.data + static_cast<size_t>(row / kPanelCols) * panel_bytes(w.dtype, w.k);
  const int64_t c = row % kPanelCols;
  if (panel_kind(w.dtype) == PanelKind::as_in_file) {
    const uint8_t* at = panel;
    for (int64_t k0 = 0, n; k0 < w.k; k0 += n) {
      n = std::min<int64_t>(kFloatChunk, w.k - k0);
      const size_t bytes = row_bytes(w.dtype, n);
      std::memcpy(out, at + static_cast<size_t>(c) * bytes, bytes);
      out += bytes;
      at += kPanelCols * bytes;
    }
    return;
  }
  if (!is_block_type(w.dtype)) {
    if (w.dtype == DType::f32)
      for (int64_t i = 0; i < w.k; ++i) std::memcpy(out + 4 * i, panel + (i * kPanelCols + c) * 4, 4);
    else if (w.dtype == DType::f16)
      for (int64_t i = 0; i < w.k; ++i) std::memcpy(out + 2 * i, panel + (i * kPanelCols + c) * 2, 2);
    else
      for (int64_t i = 0; i < w.k; ++i) std::memcpy(out + 2 * i, panel + (i / 2 * kPanelCols + c) * 4 + i % 2 * 2, 2);
    return;
  }
  // A panel of one block is its header and its values; in a longer one all headers stand first.
  const DTypeInfo& info = dtype_info(w.dtype);
  const PanelParts one = panel_parts(w.dtype, info.block_elems), parts = panel_parts(w.dtype, w.k);
  const std::vector<Move>& moves = moves_of(w.dtype)[static_cast<size_t>(c)];
  for (int64_t b = 0; b < w.k / info.block_elems; ++b, out += info.block_bytes) {
    const uint8_t* const head = panel + static_cast<size_t>(b) * parts.head_bytes;
    const uint8_t* const values = panel + parts.values_at + static_cast<size_t>(b) * parts.value_bytes - one.values_at;
    std::memset(out, 0, static_cast<size_t>(info.block_bytes));
    for (const Move& m : moves) {
      const int byte = (m.from < one.values_at ? head : values)[m.from] ^ m.flip;
      out[m.to] = static_cast<uint8_t>(out[m.to] | ((m.shift >= 0 ? byte >> m.shift : byte << -m.shift) & m.mask));
    }
  }
}

void Ops::embed(const PackedMatrix& table, std::span<const TokenId> tokens, float* out) const {
  const OpTimer timer(meter_, [&] { return embed_work(table.dtype, table.k, static_cast<int64_t>(tokens.size())); });
  CHECK(table.order == nullptr, "an embedding table whose columns are reordered");
  const WeightFormat& format = *weight_format(table.dtype);
  pool_.run(static_cast<int>(tokens.size()), [&](int i, int) {
    CHECK(tokens[i] >= 0 && tokens[i] < table.n, "token {} of a table of {}", tokens[i], table.n);
    static thread_local std::vector<uint8_t> row;
    row.resize(row_bytes(table.dtype, table.k));
    unpack_row(table, tokens[i], row.data());
    format.decode(row.data(), out + i * table.k, table.k);
  });
}

}  // namespace sluice
