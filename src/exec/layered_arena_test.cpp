#include "exec/layered_arena.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstring>
#include <functional>
#include <map>
#include <set>

#include "base/rng.h"
#include "exec/kv_arena.h"
#include "tests/support/failing_io.h"

namespace sluice {
namespace {

struct Shape {
  int layers = 5, kv_heads = 2, head_dim = 16, block_tokens = 16, blocks = 24;
  std::vector<int> away = {0, 1, 2, 3, 4};
  double share = 1;
  int depth = 1;
};

KvSpec spec_of(const Shape& s) {
  // The last layer is of another size, as in models whose layers differ.
  return {{{KvGroup::Kind::full, 0, s.layers - 1, s.kv_heads, s.head_dim, 0}, {KvGroup::Kind::full, s.layers - 1, 1, 1, s.head_dim, 0}}};
}

KvStoreOptions options_of(const Shape& s) {
  KvStoreOptions o{.blocks = s.blocks, .block_tokens = s.block_tokens};
  o.offload = {s.away, s.share, ::testing::TempDir(), s.depth};
  return o;
}

/// Writes the row of a position into keys and values alike, or says whether it stands there.
void write_row(const KvLayerView& view, BlockId block, int slot, uint8_t value) {
  const size_t row = view.format->row_bytes(view.head_dim);
  for (uint8_t* kv : {view.k, view.v})
    for (int h = 0; h < view.kv_heads; ++h)
      std::memset(kv + (block * static_cast<size_t>(view.kv_heads) + static_cast<size_t>(h)) * view.tile_bytes() + static_cast<size_t>(slot) * row,
                  value + (kv == view.k ? 0 : 1) + h, row);
}
bool has_row(const KvLayerView& view, BlockId block, int slot, uint8_t value) {
  const size_t row = view.format->row_bytes(view.head_dim);
  for (const uint8_t* kv : {view.k, view.v})
    for (int h = 0; h < view.kv_heads; ++h) {
      const uint8_t* at = kv + (block * static_cast<size_t>(view.kv_heads) + static_cast<size_t>(h)) * view.tile_bytes() + static_cast<size_t>(slot) * row;
      for (size_t i = 0; i < row; ++i)
        if (at[i] != static_cast<uint8_t>(value + (kv == view.k ? 0 : 1) + h)) return false;
    }
  return true;
}

/// What a row of a layer begins with, by the stamp of its position.
uint8_t byte_of(int layer, uint8_t stamp) { return static_cast<uint8_t>(stamp * 7 + layer * 31); }

struct Line {
  std::vector<BlockId> table;
  std::vector<uint8_t> stamps;  // by position that is computed
};

/// Sequences that grow, fork, end and move out and in again, at random, over an arena; every layer of every piece must
/// find what was written for it. Returns how many rows were compared.
class RandomLines {
 public:
  RandomLines(LayeredArena& arena, const Shape& shape, uint64_t seed) : arena_(arena), shape_(shape), rng_(seed) {
    for (int b = shape.blocks; b-- > 0;) free_.push_back(static_cast<BlockId>(b));
  }

  /// A piece of some rows of some lines; those that failed are gone after it.
  void step(const std::function<void(size_t)>& failed = {}) {
    if (lines_.size() < 4 && rng_.below(3) == 0) lines_.emplace_back();
    std::vector<AttendSegment> segments;
    std::vector<size_t> who;
    std::vector<std::vector<uint8_t>> rows;
    int first_row = 0;
    for (size_t i = 0; i < lines_.size(); ++i) {
      Line& line = lines_[i];
      const int n = static_cast<int>(rng_.between(0, 2 * shape_.block_tokens));
      if (n == 0 || !hold(line, static_cast<int>(line.stamps.size()) + n)) continue;
      who.push_back(i);
      rows.emplace_back();
      for (int k = 0; k < n; ++k) rows.back().push_back(static_cast<uint8_t>(rng_.below(256)));
      segments.push_back({first_row, n, static_cast<int>(line.stamps.size()), nullptr});
      first_row += n;
    }
    for (size_t s = 0; s < segments.size(); ++s) segments[s].blocks = lines_[who[s]].table.data();
    if (segments.empty()) return;
    LayerPolicy& policy = *arena_.policy();
    policy.before_piece(segments);
    std::set<size_t> wrong;
    for (int l = 0; l < static_cast<int>(arena_.layers().size()); ++l) {
      policy.before_layer(l);
      const KvLayerView& view = arena_.layers()[static_cast<size_t>(l)];
      for (size_t s = 0; s < segments.size(); ++s) {
        const Line& line = lines_[who[s]];
        for (size_t p = 0; p < line.stamps.size(); ++p, ++compared)
          if (!has_row(view, line.table[p / bt()], static_cast<int>(p % bt()), byte_of(l, line.stamps[p]))) wrong.insert(s);
        for (size_t k = 0; k < rows[s].size(); ++k) {
          const size_t p = line.stamps.size() + k;
          write_row(view, line.table[p / bt()], static_cast<int>(p % bt()), byte_of(l, rows[s][k]));
        }
      }
      policy.after_attention(l);
    }
    std::set<size_t> gone;
    for (size_t s = 0; s < segments.size(); ++s) {
      Line& line = lines_[who[s]];
      const PlanItem item{.first_pos = segments[s].first_pos, .n_tokens = segments[s].rows, .blocks = line.table};
      const bool error = !arena_.item_error(item).empty();
      EXPECT_TRUE(error || !wrong.contains(s)) << "wrong bytes were not noticed";
      EXPECT_TRUE(failed || !error);
      line.stamps.insert(line.stamps.end(), rows[s].begin(), rows[s].end());
      if (error) gone.insert(who[s]);
    }
    for (auto it = gone.rbegin(); it != gone.rend(); ++it) {
      end(*it);
      if (failed) failed(*it);
    }
  }

  void fork() {
    if (lines_.empty() || free_.empty()) return;
    const Line& from = lines_[rng_.below(lines_.size())];
    const int rest = static_cast<int>(from.stamps.size() % bt());
    if (rest == 0) return;
    Line to = from;
    to.table.resize((from.stamps.size() + bt() - 1) / bt());
    for (size_t b = 0; b + 1 < to.table.size(); ++b) ++shared_[to.table[b]];
    to.table.back() = take();
    arena_.copy({from.table[to.table.size() - 1], to.table.back(), rest});
    lines_.push_back(std::move(to));
  }

  /// A line whose blocks leave and come back elsewhere.
  void swap() {
    if (lines_.empty()) return;
    Line& line = lines_[rng_.below(lines_.size())];
    std::vector<uint8_t> bytes(KvArena::block_bytes(spec_of(shape_), kKvF32, shape_.block_tokens));
    for (BlockId& block : line.table) {
      if (free_.empty()) return;
      if (!arena_.get(block, bytes.data())) return;
      const BlockId to = take();
      drop(std::exchange(block, to));
      arena_.put(block, bytes.data());
    }
  }

  void end_one() {
    if (!lines_.empty()) end(rng_.below(lines_.size()));
  }

  size_t compared = 0;

 private:
  size_t bt() const { return static_cast<size_t>(shape_.block_tokens); }
  BlockId take() {
    std::swap(free_[rng_.below(free_.size())], free_.back());
    const BlockId block = free_.back();
    free_.pop_back();
    return block;
  }
  void drop(BlockId block) {
    if (const auto it = shared_.find(block); it != shared_.end()) {
      if (--it->second == 0) shared_.erase(it);
    } else {
      free_.push_back(block);
    }
  }
  bool hold(Line& line, int tokens) {
    while (line.table.size() * bt() < static_cast<size_t>(tokens)) {
      if (free_.empty()) return false;
      line.table.push_back(take());
    }
    return true;
  }
  void end(size_t i) {
    for (const BlockId block : lines_[i].table) drop(block);
    lines_.erase(lines_.begin() + static_cast<int64_t>(i));
  }

  LayeredArena& arena_;
  const Shape shape_;
  Rng rng_;
  std::vector<Line> lines_;
  std::vector<BlockId> free_;
  std::map<BlockId, int> shared_;  // how many hold it besides the first
};

void run_random(LayeredArena& arena, const Shape& shape, uint64_t seed, int steps, const std::function<void(size_t)>& failed = {}) {
  RandomLines lines(arena, shape, seed);
  Rng rng(seed + 1000);
  for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
    switch (rng.below(8)) {
      case 0: lines.fork(); break;
      case 1: lines.swap(); break;
      case 2: lines.end_one(); break;
      default: lines.step(failed);
    }
  }
  EXPECT_GT(lines.compared, static_cast<size_t>(steps));
}

std::vector<Shape> shapes() {
  std::vector<Shape> list;
  const auto add = [&](auto change) { change(list.emplace_back()); };
  add([](Shape&) {});
  add([](Shape& s) { s.depth = 2; });
  add([](Shape& s) { s.depth = 0; });
  add([](Shape& s) { s.depth = 9; });
  add([](Shape& s) { s.share = 0.5; });
  add([](Shape& s) { s.share = 0.2, s.depth = 2, s.away = {1, 3, 4}; });
  add([](Shape& s) { s.away = {4}; });
  add([](Shape& s) { s.head_dim = 24, s.kv_heads = 3, s.block_tokens = 5; });              // no block is whole pages
  add([](Shape& s) { s.head_dim = 24, s.kv_heads = 3, s.block_tokens = 5, s.share = 0.7, s.depth = 2; });
  add([](Shape& s) { s.head_dim = 64, s.kv_heads = 1, s.block_tokens = 16, s.away = {2, 3, 4}; });  // every one is
  add([](Shape& s) { s.head_dim = 8, s.kv_heads = 1, s.block_tokens = 1, s.blocks = 300; });  // many to a page
  return list;
}

TEST(LayeredArena, EveryLayerFindsWhatWasWrittenForIt) {
  uint64_t seed = 1;
  for (const Shape& shape : shapes()) {
    SCOPED_TRACE(seed);
    auto arena = LayeredArena::open(spec_of(shape), kKvF32, options_of(shape));
    ASSERT_TRUE(arena.ok()) << arena.error().message;
    run_random(**arena, shape, seed++, 150);
    EXPECT_GT((*arena)->traffic().read_bytes, 0u);
    EXPECT_GT((*arena)->traffic().written_bytes, 0u);
  }
}

TEST(LayeredArena, RequestsThatEndInAnyOrder) {
  uint64_t seed = 50;
  for (const Shape& shape : shapes()) {
    SCOPED_TRACE(seed);
    auto io = std::make_unique<test::FailingIo>(LayeredArena::file_bytes(spec_of(shape), kKvF32, options_of(shape)), seed);
    auto arena = LayeredArena::open(spec_of(shape), kKvF32, options_of(shape), std::move(io));
    ASSERT_TRUE(arena.ok()) << arena.error().message;
    run_random(**arena, shape, seed++, 150);
  }
}

TEST(LayeredArena, WhatADeviceLosesIsNeverUsed) {
  uint64_t seed = 100;
  size_t failures = 0, failed = 0;
  for (const Shape& shape : shapes()) {
    SCOPED_TRACE(seed);
    auto io = std::make_unique<test::FailingIo>(LayeredArena::file_bytes(spec_of(shape), kKvF32, options_of(shape)), seed);
    test::FailingIo& device = *io;
    auto arena = LayeredArena::open(spec_of(shape), kKvF32, options_of(shape), std::move(io));
    ASSERT_TRUE(arena.ok()) << arena.error().message;
    device.fail_one_in(100);
    run_random(**arena, shape, seed++, 200, [&](size_t) { ++failed; });
    failures += device.failures();
    // Blocks that begin anew are as good as ever.
    device.fail_one_in(0);
    RandomLines later(**arena, shape, seed);
    for (int i = 0; i < 30; ++i) later.step();
    if (HasFailure()) return;
  }
  EXPECT_GT(failures, shapes().size());
  EXPECT_GT(failed, shapes().size());
}

TEST(LayeredArena, AFileThatBecomesShorterIsNoticed) {
  const Shape shape;
  const KvStoreOptions options = options_of(shape);
  const auto fd = open_nameless_file(::testing::TempDir(), LayeredArena::file_bytes(spec_of(shape), kKvF32, options));
  ASSERT_TRUE(fd.ok()) << fd.error().message;
  auto arena = LayeredArena::open(spec_of(shape), kKvF32, options, open_async_io(*fd, 64));
  ASSERT_TRUE(arena.ok()) << arena.error().message;
  const std::vector<uint8_t> bytes(KvArena::block_bytes(spec_of(shape), kKvF32, shape.block_tokens), 3);
  std::vector<uint8_t> back(bytes.size());
  (*arena)->put(5, bytes.data());
  EXPECT_TRUE((*arena)->get(5, back.data()));
  EXPECT_EQ(back, bytes);
  ASSERT_EQ(::ftruncate(*fd, 0), 0);
  EXPECT_FALSE((*arena)->get(5, back.data()));
  const std::vector<BlockId> table = {5};
  EXPECT_NE((*arena)->item_error({.first_pos = 3, .n_tokens = 1, .blocks = table}).find("lost"), std::string::npos);
}

TEST(LayeredArena, MemoryFallsWithTheShareAndTheFileGrows) {
  Shape shape;
  shape.blocks = 10000, shape.layers = 12, shape.away.clear();
  for (int l = 0; l < shape.layers; ++l) shape.away.push_back(l);
  size_t memory = SIZE_MAX, file = 0;
  const size_t all = KvArena::block_bytes(spec_of(shape), kKvF32, shape.block_tokens) * 10000;
  for (const double share : {0.1, 0.3, 0.5, 0.9, 1.0}) {
    shape.share = share;
    const size_t m = LayeredArena::memory_bytes(spec_of(shape), kKvF32, options_of(shape));
    const size_t f = LayeredArena::file_bytes(spec_of(shape), kKvF32, options_of(shape));
    EXPECT_LT(m, memory);
    EXPECT_GT(f, file);
    EXPECT_NEAR(static_cast<double>(f), share * static_cast<double>(all), 0.01 * static_cast<double>(all));
    memory = m, file = f;
  }
  EXPECT_LT(memory, all / 4);  // two windows of twelve layers, and what waits to be written
}

TEST(LayeredArena, RefusesWhatThereIsNoRoomFor) {
  Shape shape;
  shape.away = {4, 5};
  auto arena = LayeredArena::open(spec_of(shape), kKvF32, options_of(shape));
  ASSERT_FALSE(arena.ok());
  EXPECT_NE(arena.error().message.find("layers 0 to 4"), std::string::npos) << arena.error().message;
  shape.away = {4};
  KvStoreOptions options = options_of(shape);
  options.offload.path = "/nowhere/at/all";
  arena = LayeredArena::open(spec_of(shape), kKvF32, options);
  ASSERT_FALSE(arena.ok());
  EXPECT_NE(arena.error().message.find("/nowhere/at/all"), std::string::npos) << arena.error().message;
  EXPECT_EQ(open_nameless_file(::testing::TempDir(), size_t{1} << 50).error().code, ErrorCode::resource_exhausted);
}

}  // namespace
}  // namespace sluice
