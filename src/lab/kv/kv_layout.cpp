#include <algorithm>
#include <cstring>
#include <map>

#include "backend/op_table.h"
#include "base/machine.h"
#include "lab/workloads.h"
#include "sim/placement.h"

namespace sluice::lab {
namespace {

constexpr int kHeads = 14, kKvHeads = 2, kHeadDim = 64;  // of a 0.5B model

/// One layer's K and V of a long context in blocks of `block_tokens`, in every placement.
struct Layer {
  struct Table {
    std::string_view placement;
    std::vector<BlockId> blocks;
  };
  KvLayerView view;
  Buffer memory;
  std::vector<Table> tables;

  static Result<Layer> make(int context, int block_tokens) {
    Layer layer;
    Rng rng(static_cast<uint64_t>(block_tokens));
    for (const Placement& p : placements()) layer.tables.push_back({p.name, p.table(context, block_tokens, rng)});
    BlockId last = 0;
    for (const Table& t : layer.tables) last = std::max(last, std::ranges::max(t.blocks));
    const int cluster = cluster_blocks(block_tokens);
    const size_t bytes = kKvF16.tile_bytes(block_tokens * cluster, kHeadDim) * (last / static_cast<size_t>(cluster) + 1) * kKvHeads;
    SLUICE_TRY(layer.memory, Buffer::allocate(2 * bytes));
    uint8_t* at = layer.memory.data();
    layer.view = {&kKvF16, block_tokens, kKvHeads, kHeadDim, at, at + bytes};
    layer.view.blocks_of_tile = cluster;
    return layer;
  }

  void fill(const Ops& ops, std::span<const float> k, std::span<const float> v, int context, const Table& table) {
    std::vector<int64_t> slots;
    for (int pos = 0; pos < context; ++pos)
      slots.push_back(int64_t{table.blocks[static_cast<size_t>(pos / view.block_tokens)]} * view.block_tokens + pos % view.block_tokens);
    ops.write_kv(k.data(), v.data(), slots, view);
  }
};

Result<Finding> run_kv_layout(const Setting& setting) {
  SLUICE_TRY(const OpTable* table, select_op_table(""));
  ThreadPool pool(setting.threads > 0 ? setting.threads : usable_cores());
  const Ops ops(*table, pool);
  const int context = setting.quick ? 32'768 : 131'072, rounds = setting.quick ? 20 : 100;
  Rng rng(4);
  std::vector<float> k(static_cast<size_t>(context) * kKvHeads * kHeadDim), v(k.size()), q(kHeads * kHeadDim);
  for (std::vector<float>* x : {&k, &v, &q})
    for (float& value : *x) value = static_cast<float>(rng.next_double() - 0.5);
  RealClock clock;
  Finding f;
  std::vector<float> first;
  // The fastest of several: what the machine does besides only adds.
  const auto rate = [&](Layer& layer, const Layer::Table& table) {
    layer.fill(ops, k, v, context, table);
    const AttendSegment segment{0, 1, context - 1, table.blocks.data()};
    std::vector<float> out(q.size());
    Nanos best = INT64_MAX;
    for (int i = 0; i < rounds; ++i) {
      const Nanos start = clock.now();
      ops.attend({q.data(), out.data(), kHeads, 0.125f, 0, layer.view, {&segment, 1}});
      best = std::min(best, clock.now() - start);
    }
    if (first.empty()) first = out;
    f.must(fmt::format("equal bits in blocks of {}, {}", layer.view.block_tokens, table.placement),
           std::memcmp(first.data(), out.data(), out.size() * sizeof(float)) == 0);
    return 2.0 * static_cast<double>(kKvF16.tile_bytes(context, kHeadDim) * kKvHeads) / static_cast<double>(best);
  };
  double contiguous = 0, paged = 0, tokens = 0, anywhere = 0;
  for (const int block_tokens : {256, 16, 1}) {
    SLUICE_TRY(Layer layer, Layer::make(context, block_tokens));
    std::map<std::string_view, double> rates;
    for (const Layer::Table& table : layer.tables) rates[table.placement] = rate(layer, table);
    const double ordered = rates["adjoining"], pooled = rates["pool"], shuffled = rates["scattered"];
    if (block_tokens == 256) contiguous = ordered;
    if (block_tokens == 16) paged = pooled;
    if (block_tokens == 1) tokens = pooled, anywhere = shuffled;
    f.count(fmt::format("GB/s in blocks of {}, adjoining and of a pool in use (timed)", block_tokens), ordered, pooled);
    f.count(fmt::format("GB/s in blocks of {}, adjoining and each anywhere (timed)", block_tokens), ordered, shuffled);
  }
  f.effect = {"attention's bandwidth over single tokens: each anywhere, and of a pool in use", "GB/s", anywhere, tokens, Better::higher, true};
  f.count("bandwidth of a pool in use, in single tokens and blocks of 16, in % of contiguous memory's (timed; 90 is the aim)", 100 * tokens / contiguous,
          100 * paged / contiguous);
  return f;
}

}  // namespace

extern const Experiment kKvLayout;
const Experiment kKvLayout = {
    .name = "kv-layout",
    .ids = "V13",
    .group = "kv",
    .technique =
        "Paged layout [tile][KV head][token][dim], tiles of a block or of 16 tokens: a head's tile is one stream, the next is prefetched",
    .paper = "Kwon et al., PagedAttention, SOSP 2023; FlashInfer (Ye et al., MLSys 2025) for the layout by heads",
    .file = "src/backend/attend.cpp",
    .flag = "`--block-size`",
    .test = "`src/backend/attend_test.cpp`, `bench/attention_bench.cpp` (`block_sizes`)",
    .baseline = "the same positions as single tokens that stand anywhere; adjoining blocks of 256 as contiguous memory",
    .workload = "one row over 32,768 positions of a 0.5B model's layer, f16",
    .holds = "lossless: equal bits in any block size and order; 90 % of contiguous memory's bandwidth (shown)",
    .run = run_kv_layout};

}  // namespace sluice::lab
