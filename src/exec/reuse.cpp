#include "exec/reuse.h"

#include "exec/kv_rows.h"

namespace sluice {
void rotate_copied_keys(const Model& model, std::span<const KvLayerView> layers, const KvCopy& copy) {
  std::vector<float> keys;
  const std::vector<int32_t> by(static_cast<size_t>(copy.tokens), copy.shift);
  for (size_t l = 0; l < layers.size(); ++l) {
    const KvLayerView& kv = layers[l];
    keys.resize(static_cast<size_t>(copy.tokens) * static_cast<size_t>(kv.kv_heads * kv.head_dim));
    const auto each_row = [&](auto visit) {
      float* at = keys.data();
      for (int t = 0; t < copy.tokens; ++t)
        for (int h = 0; h < kv.kv_heads; ++h, at += kv.head_dim) visit(KvRow(kv, kv.k, copy.dst, copy.dst_offset + t, h), at);
    };
    each_row([&](const KvRow& row, float* x) { row.decode(kv, x); });
    model.rotate_keys(static_cast<int>(l), by, kv.kv_heads, keys.data());
    each_row([&](const KvRow& row, const float* x) { row.encode(kv, x); });
  }
}

bool ReuseProbe::before_write(const LayerView& view) {
  if (view.layer == 0 && layers_ > 1) return true;
  const KvLayerView& kv = view.kv;
  std::vector<float> held(static_cast<size_t>(kv.head_dim));
  for (const AttendSegment& segment : view.segments)
    for (int r = 0; r < segment.rows; ++r) {
      const int slot = segment.first_pos + r;
      const BlockId block = segment.blocks[slot / kv.block_tokens];
      const size_t row = static_cast<size_t>(segment.first_row + r) * static_cast<size_t>(kv.kv_heads * kv.head_dim);
      double sum = 0;
      for (const auto& [fresh, base] : {std::pair{view.k, kv.k}, {view.v, kv.v}})
        for (int h = 0; h < kv.kv_heads && layers_ > 1; ++h) {
          KvRow(kv, base, block, slot % kv.block_tokens, h).decode(kv, held.data());
          const float* now = fresh + row + static_cast<size_t>(h * kv.head_dim);
          for (int i = 0; i < kv.head_dim; ++i) sum += static_cast<double>(now[i] - held[static_cast<size_t>(i)]) * static_cast<double>(now[i] - held[static_cast<size_t>(i)]);
        }
      deviation_.push_back(static_cast<float>(sum));
    }
  return false;
}

}  // namespace sluice
