// Attention over paged KV in the shapes of a 0.5B (14 heads, 2 KV heads, dim 64) and a 1B model (32, 8, 64).
// Decode: one row of a long context, in GB/s of K and V read; the caches of several layers take turns, so that they
// come from memory as in a model. Prefill: 512 rows, in GOP/s of the causal half that is computed. Shared prefix: one row
// each of 16 sequences with 2,048 positions in common, in the same blocks or in copies, and 128 of their own. Block sizes:
// one row of a long context in blocks of 1 (token-granular), 16 and 256 tokens, placed as the label says
// (sim/placement.h). of_roofline is the share of what binds, which the label names too.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "backend/ops.h"
#include "base/check.h"
#include "base/machine.h"
#include "base/rng.h"
#include "bench/limits.h"
#include "kv/block_pool.h"
#include "sim/placement.h"

namespace sluice {
namespace {

constexpr int kHeadDim = 64;

struct Layers {
  int heads, kv_heads, context, block_tokens, cluster;
  const KvFormat& format;
  size_t layer_bytes;  // of K, and of V
  Buffer memory;       // per layer K, then V
  std::vector<BlockId> table;

  Layers(int heads, int kv_heads, int context, const KvFormat& format, int layers, int block_tokens = 16, std::string_view placement = "scattered")
      : heads(heads),
        kv_heads(kv_heads),
        context(context),
        block_tokens(block_tokens),
        cluster(cluster_blocks(block_tokens)),
        format(format) {
    Rng rng(1);
    table = find_placement(placement)->table(context, block_tokens, rng);
    const auto tiles = static_cast<size_t>(std::ranges::max(table)) / static_cast<size_t>(cluster) + 1;
    const int tile_tokens = block_tokens * cluster;
    const size_t tile = format.tile_bytes(tile_tokens, kHeadDim), row_bytes = format.row_bytes(kHeadDim),
                 side = format.side_offset(tile_tokens, kHeadDim);
    layer_bytes = tile * tiles * static_cast<size_t>(kv_heads);
    memory = Buffer::allocate(2 * layer_bytes * static_cast<size_t>(layers)).value();
    uint8_t* values = memory.data();
    for (size_t at = 0; at < layer_bytes; at += tile)
      for (size_t token = 0; token < static_cast<size_t>(tile_tokens); ++token) {
        float x[kHeadDim];
        for (float& v : x) v = static_cast<float>(rng.next_double() - 0.5);
        format.encode(x, kHeadDim, values + at + token * row_bytes,
                      values + at + side + token * static_cast<size_t>(format.side_bytes));
      }
    for (size_t i = 1; i < 2 * static_cast<size_t>(layers); ++i)
      std::memcpy(values + i * layer_bytes, values, layer_bytes);
  }

  KvLayerView view(size_t layer) {
    uint8_t* k = memory.data() + 2 * layer * layer_bytes;
    KvLayerView v{&format, block_tokens, kv_heads, kHeadDim, k, k + layer_bytes};
    v.blocks_of_tile = cluster;
    return v;
  }
};

void attention(benchmark::State& state) {
  const bool small = state.range(0) == 0;
  const int heads = small ? 14 : 32, kv_heads = small ? 2 : 8;
  const int context = static_cast<int>(state.range(1)), rows = static_cast<int>(state.range(2));
  const KvFormat& format = kv_format(static_cast<KvType>(state.range(3)));
  const auto table = select_op_table();
  CHECK(table.ok(), "SLUICE_ISA names no table of this machine");
  ThreadPool pool(static_cast<int>(state.range(4)));
  const Ops ops(**table, pool);
  const size_t layer_bytes = 2 * format.tile_bytes(context, kHeadDim) * static_cast<size_t>(kv_heads);
  const size_t layers = rows > 1 ? 1 : std::max<size_t>(2, (size_t{192} << 20) / layer_bytes);
  Layers kv(heads, kv_heads, context, format, static_cast<int>(layers));
  std::vector<float> q(static_cast<size_t>(rows) * static_cast<size_t>(heads) * kHeadDim, 0.5f), out(q.size());
  const AttendSegment segment{0, rows, context - rows, kv.table.data()};
  size_t layer = 0;
  for (auto _ : state) {
    ops.attend({q.data(), out.data(), heads, 0.125f, 0, kv.view(layer), {&segment, 1}});
    layer = (layer + 1) % layers;
    benchmark::DoNotOptimize(out.data());
  }
  const OpWork work = attend_work({q.data(), out.data(), heads, 0.125f, 0, kv.view(0), {&segment, 1}});
  const std::string binds = report(state, work, limits_of(**table, pool));
  state.SetLabel(std::string(ops.isa()) + (small ? " 0.5B " : " 1B ") + std::string(format.name) + ", of " + binds);
}

void shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"model", "context", "rows", "kv", "threads"})->UseRealTime();
  for (int model : {0, 1})
    for (int threads = 1; threads <= usable_cores(); threads *= 2) {
      for (int context : {2048, 8192})
        for (const KvFormat* format : kv_formats()) b->Args({model, context, 1, static_cast<int>(format->type), threads});
      for (int context : {512, 4096})
        for (KvType type : {KvType::f16, KvType::int8}) b->Args({model, context, 512, static_cast<int>(type), threads});
    }
}

void shared_prefix(benchmark::State& state) {
  constexpr int kSequences = 16, kPrefix = 2048, kOwn = 128, kBlockTokens = 16;
  constexpr int kPrefixBlocks = kPrefix / kBlockTokens, kOwnBlocks = kOwn / kBlockTokens;
  const bool small = state.range(0) == 0, shared = state.range(3) != 0;
  const int heads = small ? 14 : 32, kv_heads = small ? 2 : 8;
  const KvFormat& format = kv_format(static_cast<KvType>(state.range(1)));
  const auto table = select_op_table();
  CHECK(table.ok(), "SLUICE_ISA names no table of this machine");
  ThreadPool pool(static_cast<int>(state.range(2)));
  const Ops ops(**table, pool);
  Layers kv(heads, kv_heads, kSequences * (kPrefix + kOwn), format, 2);
  std::vector<std::vector<BlockId>> tables;
  std::vector<AttendSegment> segments;
  for (int i = 0; i < kSequences; ++i) {
    const auto from = kv.table.begin() + i * (kPrefixBlocks + kOwnBlocks);
    tables.emplace_back(from, from + kPrefixBlocks + kOwnBlocks);
    if (shared) std::copy_n(kv.table.begin(), kPrefixBlocks, tables.back().begin());
    segments.push_back({i, 1, kPrefix + kOwn - 1, tables.back().data()});
  }
  std::vector<float> q(static_cast<size_t>(kSequences * heads) * kHeadDim, 0.5f), out(q.size());
  size_t layer = 0;
  for (auto _ : state) {
    ops.attend({q.data(), out.data(), heads, 0.125f, 0, kv.view(layer), segments});
    layer ^= 1;
    benchmark::DoNotOptimize(out.data());
  }
  const OpWork work = attend_work({q.data(), out.data(), heads, 0.125f, 0, kv.view(0), segments});
  const std::string binds = report(state, work, limits_of(**table, pool));
  state.counters["MB"] = work.bytes * 1e-6;
  state.SetLabel(std::string(ops.isa()) + (small ? " 0.5B " : " 1B ") + std::string(format.name) + ", of " + binds);
}

void shared_shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"model", "kv", "threads", "shared"})->UseRealTime();
  for (int model : {0, 1})
    for (KvType type : {KvType::f16, KvType::int8})
      for (int threads = 1; threads <= usable_cores(); threads *= 2)
        for (int shared : {0, 1}) b->Args({model, static_cast<int>(type), threads, shared});
}

void block_sizes(benchmark::State& state) {
  const bool small = state.range(0) == 0;
  const std::string_view placement = placements()[static_cast<size_t>(state.range(2))].name;
  const int heads = small ? 14 : 32, kv_heads = small ? 2 : 8, context = 8192, block_tokens = static_cast<int>(state.range(1));
  const auto table = select_op_table();
  CHECK(table.ok(), "SLUICE_ISA names no table of this machine");
  ThreadPool pool(static_cast<int>(state.range(3)));
  const Ops ops(**table, pool);
  const size_t layer_bytes = 2 * kKvF16.tile_bytes(context, kHeadDim) * static_cast<size_t>(kv_heads);
  const size_t layers = std::max<size_t>(2, (size_t{192} << 20) / layer_bytes);
  Layers kv(heads, kv_heads, context, kKvF16, static_cast<int>(layers), block_tokens, placement);
  std::vector<float> q(static_cast<size_t>(heads) * kHeadDim, 0.5f), out(q.size());
  const AttendSegment segment{0, 1, context - 1, kv.table.data()};
  size_t layer = 0;
  for (auto _ : state) {
    ops.attend({q.data(), out.data(), heads, 0.125f, 0, kv.view(layer), {&segment, 1}});
    layer = (layer + 1) % layers;
    benchmark::DoNotOptimize(out.data());
  }
  const std::string binds = report(state, attend_work({q.data(), out.data(), heads, 0.125f, 0, kv.view(0), {&segment, 1}}), limits_of(**table, pool));
  state.SetLabel(std::string(ops.isa()) + (small ? " 0.5B f16, " : " 1B f16, ") + std::string(placement) + ", of " + binds);
}

void block_shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"model", "block", "placement", "threads"})->UseRealTime();
  for (int model : {0, 1})
    for (int threads = 1; threads <= usable_cores(); threads *= 2)
      for (int block : {1, 16, 256})
        for (int placement = 0; placement < std::ssize(placements()); ++placement) b->Args({model, block, placement, threads});
}

BENCHMARK(attention)->Apply(shapes);
BENCHMARK(block_sizes)->Apply(block_shapes);
BENCHMARK(shared_prefix)->Apply(shared_shapes);

}  // namespace
}  // namespace sluice
