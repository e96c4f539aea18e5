// Against plain sums in float64, and rows that stand where they should.

#include "exec/kv_evictor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "backend/op_table.h"
#include "exec/kv_arena.h"
#include "tests/support/memory_source.h"

namespace sluice {
namespace {

constexpr int kEvictorTokens = 70, kEvictorBlockTokens = 5, kEvictorBlocks = 40;

/// A model of two layers with 4 heads over 2 KV heads, one sequence of random queries, keys and values.
struct House {
  explicit House(const KvFormat& format, int threads = 2) : pool(threads), ops(**select_op_table(""), pool) {
    test::RandomDecoder shape;
    shape.heads = 4, shape.kv_heads = 2, shape.head_dim = 16, shape.layers = 2;
    weights = std::make_unique<WeightStore>(test::random_decoder(shape), ops);
    model = std::move(build_model(*weights, ops)).value();
    arena = std::make_unique<KvArena>(KvArena::allocate(model->kv(), format, kEvictorBlocks, kEvictorBlockTokens).value());
    Rng rng(5);
    for (std::vector<float>* x : {&q, &k, &v}) {
      x->resize(static_cast<size_t>(kEvictorTokens) * (x == &q ? 4 : 2) * 16);
      for (float& f : *x) f = static_cast<float>(rng.next_normal());
    }
    blocks.resize((kEvictorTokens + kEvictorBlockTokens - 1) / kEvictorBlockTokens);
    std::iota(blocks.begin(), blocks.end(), BlockId{0});
    for (size_t i = blocks.size() - 1; i > 0; --i) std::swap(blocks[i], blocks[rng.below(i + 1)]);
    request.max_tokens = 10;
  }

  /// Positions [first, first + n), as a step would bring them.
  void compute(KvEvictor& evictor, int first, int n) {
    PlanItem item;
    item.seq = 7, item.first_pos = first, item.n_tokens = n, item.blocks = blocks, item.prompt_tokens = kEvictorTokens, item.request = &request;
    StepPlan plan;
    plan.items.push_back(item);
    evictor.prepare(plan);
    std::vector<int32_t> positions(static_cast<size_t>(n));
    std::iota(positions.begin(), positions.end(), first);
    std::vector<int64_t> slots;
    for (const int p : positions) slots.push_back(int64_t{blocks[static_cast<size_t>(p / kEvictorBlockTokens)]} * kEvictorBlockTokens + p % kEvictorBlockTokens);
    const AttendSegment segment{0, n, first, blocks.data()};
    for (int layer = 0; layer < static_cast<int>(arena->layers().size()); ++layer) {
      const KvLayerView& kv = arena->layers()[static_cast<size_t>(layer)];
      ops.write_kv(k.data() + first * 32, v.data() + first * 32, slots, kv);
      if (LayerPolicy* looks_on = evictor.observer())
        looks_on->before_attention({layer, nullptr, q.data() + first * 64, nullptr, nullptr, 4, kScale, positions, {&segment, 1}, kv});
    }
  }
  StepPlan eviction(int keep) const {
    StepPlan plan;
    plan.evictions.push_back({7, kEvictorTokens, kEvictorTokens, keep, blocks});
    return plan;
  }
  /// What a slot's key or value decodes to.
  std::vector<float> row(const uint8_t* tiles, const KvLayerView& kv, int slot, int head) const {
    const KvFormat& format = *kv.format;
    const uint8_t* tile = tiles + (blocks[static_cast<size_t>(slot / kEvictorBlockTokens)] * 2 + static_cast<size_t>(head)) * kv.tile_bytes();
    const size_t offset = static_cast<size_t>(slot % kEvictorBlockTokens);
    std::vector<float> x(16);
    const float factor = format.decode(tile + offset * format.row_bytes(16), tile + format.side_offset(kEvictorBlockTokens, 16) + offset * static_cast<size_t>(format.side_bytes), 16, x.data());
    for (float& f : x) f *= factor;
    return x;
  }

  static constexpr float kScale = 0.25f;
  ThreadPool pool;
  Ops ops;
  std::unique_ptr<WeightStore> weights;
  std::unique_ptr<Model> model;
  std::unique_ptr<KvArena> arena;
  std::vector<float> q, k, v;
  std::vector<BlockId> blocks;
  Request request;
};

std::shared_ptr<const KvRetention> policy(std::string_view name, int budget = 64) { return std::move(make_retention(name, {.budget_tokens = budget})).value(); }

TEST(KvEvictor, ScoresAreTheAttentionOfAllRowsAndHeads) {
  House house(kKvF32);
  KvEvictor evictor(policy("h2o"), *house.model, house.ops, house.arena->layers());
  house.compute(evictor, 0, kEvictorTokens);
  for (int kv_head = 0; kv_head < 2; ++kv_head) {
    std::vector<double> want(kEvictorTokens);
    for (int row = 0; row < kEvictorTokens; ++row)
      for (int head = 2 * kv_head; head < 2 * kv_head + 2; ++head) {
        std::vector<double> p;
        for (int t = 0; t <= row; ++t) {
          double dot = 0;
          for (int d = 0; d < 16; ++d) dot += static_cast<double>(house.q[static_cast<size_t>(row * 64 + head * 16 + d)]) * static_cast<double>(house.k[static_cast<size_t>(t * 32 + kv_head * 16 + d)]);
          p.push_back(std::exp(dot * House::kScale));
        }
        const double sum = std::accumulate(p.begin(), p.end(), 0.0);
        for (size_t t = 0; t < p.size(); ++t) want[t] += p[t] / sum;
      }
    for (int layer = 0; layer < 2; ++layer) {
      const auto scores = evictor.scores(7, layer, kv_head);
      ASSERT_EQ(scores.size(), static_cast<size_t>(kEvictorTokens));
      for (size_t t = 0; t < want.size(); ++t) EXPECT_NEAR(scores[t], want[t], 1e-4) << t;
    }
  }
}

TEST(KvEvictor, ScoresDependOnNoChunkAndNoThread) {
  for (const char* name : {"h2o", "keyformer"}) {
    House whole(kKvInt8), parts(kKvInt8, 3);
    KvEvictor one(policy(name), *whole.model, whole.ops, whole.arena->layers()), other(policy(name), *parts.model, parts.ops, parts.arena->layers());
    whole.compute(one, 0, kEvictorTokens);
    for (const auto& [first, n] : {std::pair{0, 1}, {1, 30}, {31, 7}, {38, 32}}) parts.compute(other, first, n);
    for (int layer = 0; layer < 2; ++layer)
      for (int head = 0; head < 2; ++head) EXPECT_TRUE(std::ranges::equal(one.scores(7, layer, head), other.scores(7, layer, head))) << name;
  }
}

TEST(KvEvictor, EveryHeadKeepsItsOwnAndTheyMoveToTheFront) {
  for (const KvFormat* format : {&kKvF32, &kKvInt8, &kKvInt4}) {
    SCOPED_TRACE(std::string(format->name));
    House house(*format);
    const auto h2o = policy("h2o");
    KvEvictor evictor(h2o, *house.model, house.ops, house.arena->layers());
    house.compute(evictor, 0, kEvictorTokens);
    std::vector<std::vector<float>> keys, values;
    for (const KvLayerView& kv : house.arena->layers())
      for (int head = 0; head < 2; ++head)
        for (int slot = 0; slot < kEvictorTokens; ++slot) keys.push_back(house.row(kv.k, kv, slot, head)), values.push_back(house.row(kv.v, kv, slot, head));
    std::vector<std::vector<int32_t>> kept(4);
    for (size_t i = 0; i < 4; ++i)
      h2o->keep(evictor.scores(7, static_cast<int>(i / 2), static_cast<int>(i % 2)), evictor.positions(7, static_cast<int>(i / 2), static_cast<int>(i % 2)), kEvictorTokens, kEvictorTokens, 20, kept[i]);
    EXPECT_NE(kept[0], kept[1]) << "heads that agree show nothing";
    evictor.prepare(house.eviction(20));
    for (size_t i = 0; i < 4; ++i) {
      const KvLayerView& kv = house.arena->layers()[i / 2];
      EXPECT_TRUE(std::ranges::equal(evictor.positions(7, static_cast<int>(i / 2), static_cast<int>(i % 2)), kept[i]));
      for (int slot = 0; slot < 20; ++slot) {
        const size_t was = i * kEvictorTokens + static_cast<size_t>(kept[i][static_cast<size_t>(slot)]);
        EXPECT_EQ(house.row(kv.k, kv, slot, static_cast<int>(i % 2)), keys[was]);
        EXPECT_EQ(house.row(kv.v, kv, slot, static_cast<int>(i % 2)), values[was]);
      }
    }
    StepPlan end;
    end.ended = {7};
    evictor.prepare(end);
    EXPECT_ANY_THROW(evictor.scores(7, 0, 0)) << "nothing is kept of who has ended";
  }
}

TEST(KvEvictor, WithinTheCacheKeysTurnToTheirSlots) {
  for (const auto& [format, most] : {std::pair{&kKvF32, 1e-5}, {&kKvF16, 4e-3}}) {
    SCOPED_TRACE(std::string(format->name));
    House house(*format);
    const std::vector<float> unrotated = house.k;
    std::vector<int32_t> by(kEvictorTokens);
    std::iota(by.begin(), by.end(), 0);
    house.model->rotate_keys(0, by, 2, house.k.data());
    KvEvictor evictor(policy("sink-window"), *house.model, house.ops, house.arena->layers());
    house.compute(evictor, 0, kEvictorTokens);
    evictor.prepare(house.eviction(30));  // four sinks, and the last 26
    std::vector<float> want(unrotated.begin(), unrotated.begin() + 4 * 32);
    want.insert(want.end(), unrotated.end() - 26 * 32, unrotated.end());
    house.model->rotate_keys(0, std::span(by).first(30), 2, want.data());
    for (const KvLayerView& kv : house.arena->layers())
      for (int head = 0; head < 2; ++head)
        for (int slot = 0; slot < 30; ++slot) {
          const std::vector<float> key = house.row(kv.k, kv, slot, head), value = house.row(kv.v, kv, slot, head);
          const int was = slot < 4 ? slot : slot + kEvictorTokens - 30;
          for (size_t d = 0; d < 16; ++d) {
            EXPECT_NEAR(key[d], want[static_cast<size_t>(slot * 32 + head * 16) + d], most) << "slot " << slot;
            EXPECT_NEAR(value[d], house.v[static_cast<size_t>(was * 32 + head * 16) + d], most) << "slot " << slot;
          }
        }
  }
}

TEST(KvEvictor, RefusesWhatItCannotMove) {
  ModelInfo model;
  EXPECT_TRUE(KvEvictor::check(*policy("sink-window"), kKvF16, model).ok());
  EXPECT_NE(KvEvictor::check(*policy("sink-window"), kKvInt8, model).error().message.find("int8"), std::string::npos);
  EXPECT_TRUE(KvEvictor::check(*policy("h2o"), kKvInt4, model).ok());
  EXPECT_NE(KvEvictor::check(*policy("h2o"), kKvKivi4, model).error().message.find("kivi4"), std::string::npos);
  model.windowed = true;
  EXPECT_FALSE(KvEvictor::check(*policy("h2o"), kKvF16, model).ok());
  EXPECT_TRUE(KvEvictor::check(*std::move(make_retention("none", {})).value(), kKvInt8, model).ok());
}

}  // namespace
}  // namespace sluice
