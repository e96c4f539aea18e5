#include "lab/workloads.h"

namespace sluice::lab {
namespace {

Result<Finding> run_block_sharing(const Setting& setting) {
  Finding f;
  // Whole blocks inside the common prefix are shared: how much that is, by block size.
  constexpr int kPrefix = 500, kRequests = 8, kSizes[] = {1, 4, 16, 64, 256};
  const Load prompts = shared_prefix(32'000, kRequests, kPrefix, 50, 30);
  double ratio[std::size(kSizes)] = {};
  for (size_t i = 0; i < std::size(kSizes); ++i) {
    EngineOptions options = engine_options(1024, kRequests * 1024);
    options.block_tokens = kSizes[i];
    options.kv_blocks = kRequests * 1024 / kSizes[i];
    SLUICE_TRY(const Run r, simulate(options, prompts));
    f.must(fmt::format("block size {}: each later request finds the whole blocks of the prefix", kSizes[i]),
           r.stats.prefix_hits_tokens == static_cast<uint64_t>((kRequests - 1) * (kPrefix / kSizes[i] * kSizes[i])),
           fmt::format("{} tokens", r.stats.prefix_hits_tokens));
    ratio[i] = 100 * static_cast<double>(r.stats.prefix_hits_tokens) / static_cast<double>(r.stats.prompt_tokens);
    f.count(fmt::format("prompt tokens shared at block size {}, %", kSizes[i]), 0, ratio[i]);
    f.must("smaller blocks share no less", i == 0 || ratio[i] <= ratio[i - 1]);
  }
  f.effect = {"prompt tokens shared, at block size 256 and 16", "%", ratio[4], ratio[2], Better::higher, false};

  // Isolation: sharers end one after the other, others take and write their blocks, and samples part inside a block.
  SLUICE_TRY(const auto bench, Bench::open(setting));
  Load sharers = shared_prefix(bench->vocab(), 12, 150, 7, 60);
  for (size_t i = 0; i < sharers.requests.size(); ++i) {
    Request& r = sharers.requests[i];
    r.max_tokens = i % 3 == 0 ? 60 : 1 + static_cast<int>(i);
    r.n = i % 4 == 1 ? 3 : 1;
    r.sampling.temperature = r.n > 1 ? 1.0f : 0.0f;
  }
  EngineOptions options = engine_options(256, 12 * 256);
  options.prefix_cache = "none";
  options.max_num_seqs = 1;
  Load singles = sharers;
  SLUICE_TRY(const Run alone, bench->run(options, singles));
  options.prefix_cache = "radix";
  options.max_num_seqs = 6;
  options.kv_blocks = 34;  // so few that blocks go from one to another at once
  SLUICE_TRY(const Run shared, bench->run(options, sharers));
  std::string why;
  const bool same = same_outputs(alone, shared, &why);
  f.must("a sharer that ends, is preempted or copies changes no other's bits", same, why);
  f.must("blocks were shared and copied on write",
         shared.stats.prefix_hits_tokens > 0 && shared.stats.copied_blocks > 0,
         fmt::format("{} tokens hit, {} blocks copied, {} preemptions", shared.stats.prefix_hits_tokens,
                     shared.stats.copied_blocks, shared.stats.preemptions));
  f.count("blocks copied on write", static_cast<double>(alone.stats.copied_blocks),
          static_cast<double>(shared.stats.copied_blocks));
  return f;
}

}  // namespace

extern const Experiment kBlockSharing;
const Experiment kBlockSharing = {
    .name = "block-sharing",
    .ids = "V5",
    .group = "kv",
    .technique = "Block sharing by reference count, copied on write: how much, by block size",
    .paper = "Kwon et al., PagedAttention, SOSP 2023, 4.4",
    .file = "src/kv/block_pool.h",
    .flag = "`--block-size`",
    .test = "`tests/property` (every slot's prefix is checked), `tests/exactness`",
    .baseline = "blocks of 256 tokens",
    .workload = "simulated: 8 prompts that share 500 tokens; 12 on the model in a pool of 34 blocks",
    .holds = "lossless: equal bits whoever ends first; exactly the whole blocks of the prefix are shared",
    .run = run_block_sharing};

}  // namespace sluice::lab
