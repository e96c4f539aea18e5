// Rotary embedding and KV writes against float64 and the formats, and equal bits on every table.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "backend/op_table.h"
#include "backend/ops.h"
#include "backend/row_ops.h"
#include "base/rng.h"
#include "tests/support/paged_kv.h"

namespace sluice {
namespace {

using test::normals;
using test::same_bits;
using test::tables;

TEST(Rows, RopeBothStyles) {
  Rng rng(2);
  for (int trial = 0; trial < 24; ++trial) {
    const int heads = static_cast<int>(rng.between(1, 5)), head_dim = 2 * static_cast<int>(rng.between(1, 64));
    const int pairs = static_cast<int>(rng.between(1, head_dim / 2));
    const int offset = trial % 4 < 2 ? 0 : static_cast<int>(rng.between(0, head_dim - 2 * pairs));
    const RopeStyle style = trial % 2 == 0 ? RopeStyle::half : RopeStyle::interleaved;
    const float magnitude = trial % 3 == 0 ? 1.25f : 1.0f;
    std::vector<float> inv_freq(static_cast<size_t>(pairs));
    for (int i = 0; i < pairs; ++i)
      inv_freq[static_cast<size_t>(i)] = std::pow(10000.0f, -static_cast<float>(i) / static_cast<float>(pairs));
    std::vector<int32_t> positions;
    for (int r = 0; r < 50; ++r) positions.push_back(static_cast<int32_t>(rng.below(100000)));
    const auto x = normals(rng, positions.size() * static_cast<size_t>(heads * head_dim));
    std::vector<float> first;
    for (const OpTable* table : tables())
      for (int threads : {1, 3}) {
        ThreadPool pool(threads);
        const Ops ops(*table, pool);
        auto out = x;
        ops.rope(out.data(), positions, inv_freq, magnitude, heads, head_dim, 2 * pairs, style, offset);
        if (first.empty()) first = out;
        EXPECT_TRUE(same_bits(out, first)) << table->isa;
        // A row alone, after other calls have replaced both tables of angles.
        std::vector<float> row(x.end() - heads * head_dim, x.end()), other = x;
        for (const size_t rows : {1u, 2u})
          ops.rope(other.data(), std::span(positions).first(rows), inv_freq, magnitude, heads, head_dim, 2 * pairs, style);
        ops.rope(row.data(), std::span(positions).last(1), inv_freq, magnitude, heads, head_dim, 2 * pairs, style, offset);
        EXPECT_EQ(0, std::memcmp(row.data(), out.data() + out.size() - row.size(), row.size() * sizeof(float)));
      }
    for (size_t r = 0; r < positions.size(); ++r)
      for (int h = 0; h < heads; ++h) {
        const size_t base = (r * static_cast<size_t>(heads) + static_cast<size_t>(h)) * static_cast<size_t>(head_dim);
        for (int i = 0; i < pairs; ++i) {
          const auto a = base + static_cast<size_t>(offset + (style == RopeStyle::half ? i : 2 * i));
          const auto b = base + static_cast<size_t>(offset + (style == RopeStyle::half ? i + pairs : 2 * i + 1));
          const double angle = static_cast<double>(static_cast<float>(positions[r]) * inv_freq[static_cast<size_t>(i)]);
          const double c = std::cos(angle) * magnitude, s = std::sin(angle) * magnitude;
          ASSERT_NEAR(first[a], x[a] * c - x[b] * s, 1e-6);
          ASSERT_NEAR(first[b], x[b] * c + x[a] * s, 1e-6);
        }
        for (int d = 0; d < head_dim; ++d) {
          if (d >= offset && d < offset + 2 * pairs) continue;
          ASSERT_EQ(first[base + static_cast<size_t>(d)], x[base + static_cast<size_t>(d)]);
        }
      }
  }
}

TEST(Rows, WriteKvGivesTheFormatsBytesInTheRightSlot) {
  Rng rng(4);
  for (const KvFormat* format : kv_row_formats())
    for (int head_dim : {1, 7, 8, 20, 64, 200}) {
      const int kv_heads = 3, block_tokens = 5, blocks = 9;
      std::vector<int64_t> slots;
      for (int64_t s = 0; s < block_tokens * blocks; s += 2) slots.push_back(s);
      for (size_t i = slots.size(); i > 1; --i) std::swap(slots[i - 1], slots[rng.below(i)]);
      const size_t row = static_cast<size_t>(kv_heads * head_dim);
      auto k = normals(rng, slots.size() * row), v = normals(rng, slots.size() * row, 1e-6);
      // Values that reach the ends of the formats: infinity in f16, subnormal, zero, ties, not finite.
      k[0] = 1e6f;
      const auto fill = [&](size_t head, float x) {
        std::fill_n(v.begin() + static_cast<int64_t>(head) * head_dim, head_dim, x);
      };
      fill(0, 1e-40f);
      fill(1, 0.0f);
      fill(2, -3e38f);
      fill(3, 0x1p-100f);
      fill(4, 0x1p-101f);
      for (int d = 0; d < head_dim; ++d) v[static_cast<size_t>(5 * head_dim + d)] = d == 0 ? 127.0f : static_cast<float>(d) - 32.5f;
      v[static_cast<size_t>(6 * head_dim)] = std::numeric_limits<float>::infinity();
      v[static_cast<size_t>(7 * head_dim + head_dim / 2)] = -std::numeric_limits<float>::infinity();
      v[static_cast<size_t>(9 * head_dim - 1)] = std::numeric_limits<float>::quiet_NaN();
      const size_t tile = format->tile_bytes(block_tokens, head_dim), bytes = tile * kv_heads * blocks;
      for (const OpTable* table : tables()) {
        ThreadPool pool(2);
        std::vector<uint8_t> k_cache(bytes, 0xab), v_cache(bytes, 0xab), want_k = k_cache, want_v = v_cache;
        Ops(*table, pool)
            .write_kv(k.data(), v.data(), slots,
                      {format, block_tokens, kv_heads, head_dim, k_cache.data(), v_cache.data()});
        for (size_t r = 0; r < slots.size(); ++r)
          for (size_t h = 0; h < kv_heads; ++h) {
            const auto slot = static_cast<size_t>(slots[r]);
            const size_t to = (slot / block_tokens * kv_heads + h) * tile, token = slot % block_tokens,
                         row_at = to + token * format->row_bytes(head_dim),
                         side_at = to + format->side_offset(block_tokens, head_dim) + token * static_cast<size_t>(format->side_bytes);
            const size_t from = r * row + h * static_cast<size_t>(head_dim);
            format->encode(k.data() + from, head_dim, want_k.data() + row_at, want_k.data() + side_at);
            format->encode(v.data() + from, head_dim, want_v.data() + row_at, want_v.data() + side_at);
          }
        EXPECT_EQ(k_cache, want_k) << table->isa << " " << format->name << " " << head_dim;
        EXPECT_EQ(v_cache, want_v) << table->isa << " " << format->name << " " << head_dim;
      }
    }
}

}  // namespace
}  // namespace sluice
