#include <algorithm>

#include "lab/workloads.h"

namespace sluice::lab {
namespace {

int groups_of(int tokens, int group_tokens) { return (tokens + group_tokens - 1) / group_tokens; }

Result<Finding> run_vattention(const Setting& setting) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  const int group = VirtualArena::page_group_tokens(bench->model().kv(), kKvF32, kTileTokens, size_t{64} << 10);
  const int context = std::min(bench->max_positions(), 16 * group), n = 8;
  // Sequences that cross several page groups while they decode; all run at once.
  Rng rng(6);
  Load load;
  for (int i = 0; i < n; ++i)
    load.requests.push_back(
        forced_request(random_tokens(rng, bench->vocab(), static_cast<int>(rng.between(8, group))),
                       static_cast<int>(rng.between(group, setting.quick ? 2 * group : context - group))));
  EngineOptions options = engine_options(context, n * context);
  options.prefix_cache = "none";
  options.max_num_seqs = n;
  SLUICE_TRY(const Run paged, bench->run(options, load));
  EngineOptions mapped = options;
  mapped.kv_allocator = "virtual";
  mapped.block_tokens = group;
  mapped.kv_blocks = n * groups_of(context, group);
  SLUICE_TRY(const Run contiguous, bench->run(mapped, load));
  // The same requests twice: the second ones take over the slots of the first.
  Load twice = load;
  twice.requests.insert(twice.requests.end(), load.requests.begin(), load.requests.end());
  SLUICE_TRY(const Run again, bench->run(mapped, twice));

  Finding f;
  std::string why;
  const bool same = same_outputs(paged, contiguous, &why);
  f.must("equal bits with paged blocks", same, why);
  int admitted = 0, reached = 0, tokens = 0;
  for (const Request& r : load.requests) {
    const int prompt = static_cast<int>(r.prompt.size()),
              end = prompt + r.max_tokens - 1;  // the last token is not computed
    admitted += groups_of(prompt, group);
    reached += groups_of(end, group);
    tokens += end;
  }
  const VirtualArena::Counts& maps = contiguous.page_groups;
  const uint64_t late = maps.mapped_on_path - std::min(maps.mapped_on_path, static_cast<uint64_t>(admitted));
  // How many of them depends on when the machine lets the thread run: shown below, and all of them on an idle one.
  f.must("page groups that decoding reaches are mapped ahead", late < static_cast<uint64_t>(reached - admitted),
         fmt::format("{} of {} were mapped while a step waited", late, reached - admitted));
  const size_t token_bytes = KvArena::block_bytes(bench->model().kv(), kKvF32, 1),
               group_bytes = token_bytes * static_cast<size_t>(group);
  f.must("backed memory is what tokens use, to a page group per K and V of each layer and sequence",
         contiguous.kv_physical_bytes <=
                 static_cast<size_t>(tokens) * token_bytes + static_cast<size_t>(n) * group_bytes &&
             contiguous.kv_physical_bytes >= static_cast<size_t>(tokens) * token_bytes,
         fmt::format("{} bytes for {} tokens of {}", contiguous.kv_physical_bytes, tokens, token_bytes));

  // A prefix that several share is the same page groups, mapped more than once.
  const Load prefix = shared_prefix(bench->vocab(), 6, 4 * group, 10, 20);
  EngineOptions shared = mapped;
  shared.prefix_cache = "radix";
  SLUICE_TRY(const Run together, bench->run(shared, prefix));
  SLUICE_TRY(const Run apart, bench->run(options, prefix));
  const bool same_shared = same_outputs(apart, together, &why);
  f.must("equal bits where a prefix is shared", same_shared, why);
  f.must("a shared prefix is backed once",
         together.kv_physical_bytes <= (4 + 6) * group_bytes &&
             together.stats.prefix_hits_tokens == static_cast<uint64_t>(5 * 4 * group),
         fmt::format("{} bytes, {} tokens hit", together.kv_physical_bytes, together.stats.prefix_hits_tokens));

  f.effect = {fmt::format("bytes behind {} contiguous sequences", n),
              "MiB",
              static_cast<double>(static_cast<size_t>(n * context) * token_bytes) / (1 << 20),
              static_cast<double>(contiguous.kv_physical_bytes) / (1 << 20),
              Better::lower,
              false};
  f.count("map calls of a decoding step's path, in page groups", static_cast<double>(reached - admitted),
          static_cast<double>(late));
  f.count("page groups mapped ahead by the thread", 0, static_cast<double>(maps.mapped_ahead));
  f.count("page groups that a second wave found in place", 0, static_cast<double>(again.page_groups.reused));
  f.count("allocation, GB/s (timed)", 0,
          static_cast<double>(maps.mapped_on_path + maps.mapped_ahead) * static_cast<double>(group_bytes) /
              static_cast<double>(std::max<Nanos>(1, maps.map_ns)));
  const auto rate = [](const Run& r) { return r.attention_bytes / static_cast<double>(r.attention_ns); };
  f.count("GB/s of attention (timed)", rate(paged), rate(contiguous));
  return f;
}

}  // namespace

extern const Experiment kVAttention;
const Experiment kVAttention = {
    .name = "vattention",
    .ids = "V6",
    .group = "kv",
    .technique = "vAttention: contiguous virtual KV, backed by page groups on demand",
    .paper = "Prabhu et al., ASPLOS 2025",
    .file = "src/exec/virtual_arena.cpp",
    .flag = "`--kv-allocator virtual`, `--kv-page-group-size`",
    .test = "`tests/exactness`, `src/exec/virtual_arena_test.cpp`",
    .baseline = "the same contexts reserved and backed; paged blocks for equality",
    .workload = "8 sequences that decode across page groups of 64 KiB; 6 that share a prefix",
    .holds = "lossless: equal bits; memory as tokens are used; map calls off the step's path",
    .run = run_vattention};

}  // namespace sluice::lab
