#pragma once
// Sequences of random queries, keys and values, stored in blocks as a model would, for tests of attention.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <numeric>
#include <vector>

#include "backend/op_table.h"
#include "backend/ops.h"
#include "backend/row_ops.h"
#include "base/rng.h"
#include "kv/block_pool.h"

namespace sluice::test {

// The reference, and a table that this CPU runs for every other set of row operations.
inline std::vector<const OpTable*> tables() {
  std::vector<const OpTable*> found = {&kRefOps};
  for (const OpTable* t : op_tables())
    if (t->lacks().empty() && std::ranges::find(found, t->row, &OpTable::row) == found.end()) found.push_back(t);
  return found;
}

struct HeadShape {
  int heads = 4, kv_heads = 2, head_dim = 64, window = 0;
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(head_dim)); }
};

inline std::vector<float> normals(Rng& rng, size_t n, double scale = 1) {
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(rng.next_normal() * scale);
  return x;
}

/// One sequence: q, k, v of `length` positions. How it is stored and batched is a test's choice.
struct Sequence {
  int length = 0;
  std::vector<float> q, k, v;
  Sequence(Rng& rng, const HeadShape& s, int n, double q_scale = 1)
      : length(n),
        q(normals(rng, static_cast<size_t>(n) * s.heads * s.head_dim, q_scale)),
        k(normals(rng, static_cast<size_t>(n) * s.kv_heads * s.head_dim)),
        v(normals(rng, static_cast<size_t>(n) * s.kv_heads * s.head_dim)) {}
};

/// Paged KV with shuffled blocks, all of which may be open; what is not written holds NaN.
struct PagedKv {
  const HeadShape& shape;
  KvLayerView view;
  std::vector<uint8_t> k, v, open_k, open_v;
  std::vector<BlockId> free;

  /// Small blocks in clusters (kv/block_pool.h), of which a table gets some whole and some in bits.
  PagedKv(const HeadShape& s, const KvFormat& format, int block_tokens, int blocks, Rng& rng) : shape(s) {
    const int cluster = format.block != nullptr ? 1 : cluster_blocks(block_tokens);
    blocks = (blocks + cluster - 1) / cluster * cluster;
    const size_t bytes = format.tile_bytes(block_tokens, s.head_dim) * static_cast<size_t>(s.kv_heads * blocks);
    k.assign(bytes, 0xff);
    v.assign(bytes, 0xff);
    view = {&format, block_tokens, s.kv_heads, s.head_dim, k.data(), v.data()};
    view.blocks_of_tile = cluster;
    if (format.block != nullptr) {
      open_k.assign(kKvF16.tile_bytes(block_tokens, s.head_dim) * static_cast<size_t>(s.kv_heads * blocks), 0xff);
      open_v = open_k;
      view.open_k = open_k.data(), view.open_v = open_v.data();
    }
    std::vector<BlockId> clusters(static_cast<size_t>(blocks / cluster));
    std::iota(clusters.begin(), clusters.end(), BlockId{0});
    shuffle(clusters, clusters.size(), rng);
    for (const BlockId c : clusters)
      for (int i = cluster - 1; i >= 0; --i) free.push_back(c * static_cast<BlockId>(cluster) + static_cast<BlockId>(i));
    if (cluster > 1) shuffle(free, rng.below(3) * free.size() / 2, rng);
  }

  /// The last `count` change places with any.
  static void shuffle(std::vector<BlockId>& ids, size_t count, Rng& rng) {
    for (size_t i = ids.size(); i > 1 && i > ids.size() - count; --i) std::swap(ids[i - 1], ids[rng.below(i)]);
  }

  std::vector<BlockId> store(const Ops& ops, const Sequence& seq) {
    std::vector<BlockId> blocks;
    std::vector<int64_t> slots;
    for (int pos = 0; pos < seq.length; ++pos) {
      if (pos % view.block_tokens == 0) {
        blocks.push_back(free.back());
        free.pop_back();
      }
      slots.push_back(int64_t{blocks.back()} * view.block_tokens + pos % view.block_tokens);
    }
    ops.write_kv(seq.k.data(), seq.v.data(), slots, view);
    return blocks;
  }
};

/// Rows of one sequence in a batch.
struct Piece {
  int sequence, first_pos, rows;
};

/// Rows of head_dim values as they come back from a format.
inline std::vector<float> decoded(const std::vector<float>& x, int head_dim, const KvFormat& format) {
  std::vector<uint8_t> row(format.row_bytes(head_dim)), side(static_cast<size_t>(format.side_bytes));
  std::vector<float> y(x.size());
  for (size_t at = 0; at < x.size(); at += static_cast<size_t>(head_dim)) {
    format.encode(x.data() + at, head_dim, row.data(), side.data());
    const float factor = format.decode(row.data(), side.data(), head_dim, y.data() + at);
    for (int d = 0; d < head_dim; ++d) y[at + static_cast<size_t>(d)] *= factor;
  }
  return y;
}

/// A sequence whose keys and values are those that a format stores.
inline Sequence stored(Sequence seq, const HeadShape& s, const KvFormat& format) {
  seq.k = decoded(seq.k, s.head_dim, format);
  seq.v = decoded(seq.v, s.head_dim, format);
  return seq;
}

inline HeadShape random_shape(Rng& rng) {
  constexpr int kDims[] = {1, 8, 16, 20, 24, 64, 80, 96, 128};
  constexpr int kGroups[] = {1, 2, 3, 7, 8};
  HeadShape s;
  s.head_dim = kDims[rng.below(std::size(kDims))];
  s.kv_heads = static_cast<int>(rng.between(1, 2));
  s.heads = s.kv_heads * kGroups[rng.below(std::size(kGroups))];
  constexpr int kWindows[] = {0, 0, 1, 5, 100, 300};
  s.window = kWindows[rng.below(std::size(kWindows))];
  return s;
}

constexpr int kBlockTokens[] = {1, 2, 3, 4, 8, 16, 256};
inline const KvFormat& random_row_format(Rng& rng) { return *kv_row_formats()[rng.below(kNumRowKvTypes)]; }

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace sluice::test
