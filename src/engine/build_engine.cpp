#include "engine/build_engine.h"

#include <algorithm>

#include "engine/combinations.h"
#include "sched/chunk/catalog.h"
#include "sched/branch_by_request.h"
#include "sched/length/catalog.h"
#include "sched/preempt/catalog.h"
#include "sched/queue/catalog.h"
#include "sched/step_time_fit.h"

namespace sluice {
namespace {

template <class Entry>
Result<const Entry*> find_entry(std::span<const Entry> catalog, const std::string& name, const char* flag) {
  std::string known;
  for (const Entry& entry : catalog) {
    if (entry.name == name) return &entry;
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  return invalid_argument(fmt::format("{} does not know '{}'; it knows: {}", flag, name, known), flag);
}

Status check_range(const char* flag, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return {};
  return invalid_argument(fmt::format("{} is {}; it must be from {} to {}", flag, value, low, high), flag);
}

/// The lines of the catalogs that the options name.
struct Chosen {
  const QueuePolicyEntry* queue;
  const ChunkPolicyEntry* chunk;
  const BatchingEntry* batching;
  const AdmissionEntry* admission;
  const PreemptPolicyEntry* preempt;
  const PrefixCacheEntry* cache;
  const KvAllocatorEntry* allocator;
  const TierPolicyEntry* tier;
  const RestorePolicyEntry* restore;
  const LengthPredictorEntry* lengths;  // null where no policy reads it
  ClientWeights weights;
  std::shared_ptr<const KvRetention> retention;
};

Result<Chosen> choose(const EngineOptions& options) {
  SLUICE_TRY(const QueuePolicyEntry* queue,
             find_entry(queue_catalog(), options.scheduling_policy, "--scheduling-policy"));
  SLUICE_TRY(const ChunkPolicyEntry* chunk, find_entry(chunk_catalog(), options.chunk_policy, "--chunk-policy"));
  SLUICE_TRY(const BatchingEntry* batching, find_entry(batching_catalog(), options.batching, "--batching"));
  SLUICE_TRY(const AdmissionEntry* admission,
             find_entry(admission_catalog(), options.admission_policy, "--admission-policy"));
  SLUICE_TRY(const PreemptPolicyEntry* preempt,
             find_entry(preempt_catalog(), options.preemption_policy, "--preemption-policy"));
  SLUICE_TRY(const PrefixCacheEntry* cache, find_entry(prefix_cache_catalog(), options.prefix_cache, "--prefix-cache"));
  SLUICE_TRY(const KvAllocatorEntry* allocator, find_entry(kv_allocator_catalog(), options.kv_allocator, "--kv-allocator"));
  SLUICE_TRY(const TierPolicyEntry* tier, find_entry(tier_policy_catalog(), options.kv_tier_policy, "--kv-tier-policy"));
  SLUICE_TRY(const RestorePolicyEntry* restore, find_entry(restore_catalog(), options.kv_restore, "--kv-restore"));
  SLUICE_TRY_STATUS(check_range("--block-size", options.block_tokens, 1, allocator->page_groups ? kMostBlockTokens : 256));
  SLUICE_TRY_STATUS(check_range("--max-num-seqs", options.max_num_seqs, 1, 1 << 16));
  SLUICE_TRY_STATUS(check_range("--max-num-batched-tokens", options.max_num_batched_tokens, 1, 1 << 20));
  SLUICE_TRY_STATUS(check_range("--max-waiting", options.max_waiting, 1, 1 << 24));
  SLUICE_TRY_STATUS(check_range("--max-waiting-per-client", options.limits.max_waiting_per_client, 0, 1 << 24));
  for (const auto& [flag, value] : {std::pair{"--client-token-rate", options.limits.client_token_rate},
                                    {"--client-token-burst", options.limits.client_token_burst},
                                    {"--slo-ttft-ms", options.limits.slo_ttft_ms}})
    if (!(value >= 0 && value <= 1e12)) return invalid_argument(fmt::format("{} is {}; it must be from 0 to 1e12", flag, value), flag);
  if (const double rate = options.limits.client_token_rate; rate > 0 && rate < RequestLimits::kLeastRate)
    return invalid_argument(fmt::format("--client-token-rate is {} tokens per second; it must be 0, which is no limit, or at least {}",
                                        rate, RequestLimits::kLeastRate), "--client-token-rate");
  if (options.limits.client_token_burst > 0 && options.limits.client_token_rate == 0)
    return invalid_argument("--client-token-burst is how much of --client-token-rate may be used at once: give that too", "--client-token-burst");
  SLUICE_TRY_STATUS(check_range("--long-prefill-token-threshold", options.long_prefill_token_threshold, 0, 1 << 20));
  SLUICE_TRY_STATUS(check_range("--chunked-prefill-size", options.chunked_prefill_size, 0, 1 << 20));
  if (options.chunked_prefill_size > 0 && !chunk->reads_chunk_tokens)
    return invalid_argument(fmt::format("--chunk-policy {} has no use for --chunked-prefill-size", chunk->name), "--chunked-prefill-size");
  if (!(options.aging_ms >= 0 && options.aging_ms <= 1e9))
    return invalid_argument(fmt::format("--aging-ms is {}; it must be from 0 to 1e9", options.aging_ms), "--aging-ms");
  if (options.aging_ms > 0 && queue->aging == 0)
    return invalid_argument(fmt::format("--scheduling-policy {} has no use for --aging-ms", queue->name), "--aging-ms");
  SLUICE_TRY_STATUS(check_range("--forward-tokens", options.forward_tokens, 0, options.max_num_batched_tokens));
  if (options.forward_tokens > 0 && !chunk->reads_forward_tokens)
    return invalid_argument(fmt::format("--chunk-policy {} has no use for --forward-tokens", chunk->name), "--forward-tokens");
  if (!(options.tbt_target_ms >= 0 && options.tbt_target_ms <= 1e6))
    return invalid_argument(fmt::format("--tbt-target-ms is {}; it must be from 0 to 1e6", options.tbt_target_ms), "--tbt-target-ms");
  if (options.tbt_target_ms > 0 && !chunk->reads_tbt_target)
    return invalid_argument(fmt::format("--chunk-policy {} has no use for --tbt-target-ms", chunk->name), "--tbt-target-ms");
  if (options.tbt_target_ms > 0 && options.chunked_prefill_size > 0)
    return invalid_argument("--tbt-target-ms chooses the chunk, and --chunked-prefill-size gives it: give one of them", "--tbt-target-ms");
  if (!(options.max_queue_delay_ms >= 0 && options.max_queue_delay_ms <= 1e6))
    return invalid_argument(fmt::format("--max-queue-delay-ms is {}; it must be from 0 to 1e6", options.max_queue_delay_ms), "--max-queue-delay-ms");
  if (options.max_queue_delay_ms > 0 && !batching->reads_queue_delay)
    return invalid_argument(fmt::format("--batching {} has no use for --max-queue-delay-ms", batching->name), "--max-queue-delay-ms");
  if (!(options.watermark >= 0 && options.watermark < 1))
    return invalid_argument(fmt::format("--watermark is {}; it must be at least 0 and below 1", options.watermark), "--watermark");
  if (options.watermark != kDefaultWatermark && !admission->reads_watermark)
    return invalid_argument(fmt::format("--admission-policy {} has no use for --watermark", admission->name), "--watermark");
  const LengthPredictorEntry* lengths = nullptr;
  if (queue->reads_lengths || batching->reads_lengths || admission->reads_lengths) {
    const std::string name = options.length_predictor.empty() ? std::string(length_predictor_catalog()[0].name) : options.length_predictor;
    SLUICE_TRY(lengths, find_entry(length_predictor_catalog(), name, "--length-predictor"));
  } else if (!options.length_predictor.empty()) {
    return invalid_argument(fmt::format("--scheduling-policy {}, --batching {} and --admission-policy {} have no use for --length-predictor",
                                        queue->name, batching->name, admission->name), "--length-predictor");
  }
  SLUICE_TRY(ClientWeights weights, parse_client_weights(options.client_weights));
  if (!weights.empty() && !queue->reads_weights)
    return invalid_argument(fmt::format("--scheduling-policy {} has no use for --client-weights", queue->name), "--client-weights");
  if (options.limits.slo_ttft_ms > 0 && batching->closed)
    return invalid_argument(fmt::format("--slo-ttft-ms has no use with --batching {}: first tokens come a batch at a time there, and say "
                                        "nothing of when the next ones will", batching->name), "--slo-ttft-ms");
  if (options.limits.slo_ttft_ms > 0 && chunk->prompts_wait)
    return invalid_argument(fmt::format("--slo-ttft-ms has no use with --chunk-policy {}: who comes waits until all that decode have ended, "
                                        "whether there is a queue or not", chunk->name), "--slo-ttft-ms");
  SLUICE_TRY_STATUS(check_range("--cache-reuse", options.cache_reuse, 0, 1 << 20));
  if (options.cache_reuse > 0 && options.prefix_cache == "none")
    return invalid_argument("--cache-reuse finds what the prefix cache holds, and there is none; leave it on, or --cache-reuse out", "--cache-reuse");
  if ((options.segment_cache || options.cache_reuse > 0) && options.kv_allocator != "paged")
    return invalid_argument(fmt::format("--prompt-schema, --enable-chunk-reuse and --cache-reuse need --kv-allocator paged: under '{}' a sequence's memory is its own, and "
                                        "has no place for blocks that outlive it", options.kv_allocator), "--kv-allocator");
  if ((options.segment_cache || options.cache_reuse > 0) && options.seals_blocks)
    return invalid_argument("--prompt-schema, --enable-chunk-reuse and --cache-reuse copy rows out of full blocks, which this --kv-cache-dtype encodes as a whole; choose "
                            "one that encodes each token by itself", "--kv-cache-dtype");
  if (const std::string why = why_not_recent(options); options.recent.any() && !why.empty())
    return invalid_argument(fmt::format("--swa-full-tokens-ratio below 1: {}; leave it out, or give 1", why), "--swa-full-tokens-ratio");
  SLUICE_TRY(std::shared_ptr<const KvRetention> retention, make_retention(options.kv_retention, options.retention));
  SLUICE_TRY_STATUS(check_combinations(options));
  if (retention->evicts()) {
    if (options.segment_cache || options.cache_reuse > 0)
      return invalid_argument(fmt::format("--kv-retention {} with --prompt-schema, --enable-chunk-reuse or --cache-reuse: both say in which slots tokens stand, each in "
                                          "its own way; give one of them", options.kv_retention), "--kv-retention");
    if (options.host_blocks + options.disk_blocks > 0)
      return invalid_argument(fmt::format("--kv-retention {} with KV kept beside the cache (--swap-space, --kv-disk): what is left of a sequence depends on "
                                          "more than its tokens, and nobody else could use it; give one of them", options.kv_retention), "--kv-retention");
    cache = &*std::ranges::find(prefix_cache_catalog(), "none", &PrefixCacheEntry::name);  // fallbacks() says so
  }
  return Chosen{queue, chunk, batching, admission, preempt, cache, allocator, tier, restore, lengths, std::move(weights), std::move(retention)};
}

QueueOptions queue_options(const EngineOptions& options, const Chosen& chosen, const PrefixCache* cache, const LengthPredictor* lengths) {
  return {.aging = options.aging_ms > 0 ? static_cast<Nanos>(options.aging_ms * 1e6) : chosen.queue->aging,
          .cache = cache,
          .lengths = lengths,
          .weights = chosen.weights};
}

Status check_context(const EngineOptions& options, const KvRetention& retention) {
  const int64_t pool_tokens = int64_t{options.kv_blocks} * options.block_tokens;
  if (options.max_model_len < 2 || retention.slots_to_hold(options.max_model_len, options.max_model_len) > pool_tokens)
    return invalid_argument(fmt::format("a context of {} tokens (--max-model-len) does not fit a KV cache of {} blocks x {} "
                                        "tokens = {}; ask for a shorter context or give the KV cache more memory",
                                        options.max_model_len, options.kv_blocks, options.block_tokens, pool_tokens),
                            "--max-model-len");
  return {};
}

}  // namespace

Status check_scheduling(const EngineOptions& options) {
  SLUICE_TRY([[maybe_unused]] const Chosen chosen, choose(options));
  return {};
}

std::shared_ptr<const KvRetention> retention_of(const EngineOptions& options) {
  auto retention = make_retention(options.kv_retention, options.retention);
  CHECK(retention.ok(), "{}", retention.error().message);
  return std::move(*retention);
}

std::string why_not_recent(const EngineOptions& o) {
  if (o.kv_allocator != "paged") return fmt::format("--kv-allocator {} gives a sequence memory for whole contexts", o.kv_allocator);
  if (o.host_blocks + o.disk_blocks > 0) return "blocks that are kept beside the cache (--swap-space, --kv-disk) are whole";
  if (o.segment_cache || o.cache_reuse > 0) return "KV that is reused at another place (--prompt-schema, --enable-chunk-reuse, --cache-reuse) is whole";
  if (o.kv_retention != retention_catalog()[0].name) return fmt::format("--kv-retention {} moves the rows of all layers alike", o.kv_retention);
  return {};
}

namespace {

Status check_pages(const EngineOptions& o) {
  const int64_t least = o.recent.least(1, o.max_model_len, o.max_num_batched_tokens, o.block_tokens);
  if (!o.recent.any() || o.recent.pages >= least) return {};
  return invalid_argument(fmt::format("{} pages for layers that read the last tokens only; one sequence and a step of {} tokens take {}", o.recent.pages, o.max_num_batched_tokens, least),
                          "--swa-full-tokens-ratio");
}

}  // namespace

Status check_engine_options(const EngineOptions& options) {
  SLUICE_TRY(const Chosen chosen, choose(options));
  SLUICE_TRY_STATUS(check_pages(options));
  return check_context(options, *chosen.retention);
}

Result<std::unique_ptr<Engine>> build_engine(const EngineOptions& options, Executor& executor, const Clock& clock,
                                             EngineTimes* times) {
  SLUICE_TRY(const Chosen chosen, choose(options));
  SLUICE_TRY_STATUS(check_context(options, *chosen.retention));
  SLUICE_TRY_STATUS(check_pages(options));
  auto pool = std::make_unique<BlockPool>(options.kv_blocks, options.block_tokens, options.recent);
  auto cache = chosen.cache->make(*pool);
  if (options.segment_cache || options.cache_reuse > 0) cache = std::make_unique<SegmentCache>(std::move(cache), *pool, options.cache_reuse > 0);
  if (times != nullptr) cache = timed(std::move(cache), *times, clock);
  SchedulerPolicies policies;
  if (chosen.lengths != nullptr) policies.lengths = chosen.lengths->make();
  policies.queue = chosen.queue->make(queue_options(options, chosen, cache.get(), policies.lengths.get()));
  policies.step_time = options.step_time != nullptr ? options.step_time : std::make_shared<StepTimeFit>();
  policies.chunk = chosen.chunk->make({options.max_num_batched_tokens, options.chunked_prefill_size,
                                       static_cast<Nanos>(options.tbt_target_ms * 1e6), options.forward_tokens,
                                       policies.step_time.get()});
  policies.allocator = chosen.allocator->make({options.block_tokens, options.max_model_len});
  policies.gates = make_gates(*chosen.batching, *chosen.admission,
                              {.watermark = options.watermark,
                               .prefix_cache = chosen.cache->name != "none",
                               .sequences_grow = policies.allocator->grows(),
                               .lockstep = options.max_num_batched_tokens >= options.max_num_seqs,
                               .max_num_seqs = options.max_num_seqs,
                               .max_queue_delay = static_cast<Nanos>(options.max_queue_delay_ms * 1e6),
                               .lengths = policies.lengths.get()});
  policies.preempt = chosen.preempt->make(*policies.queue);
  policies.branching = std::make_unique<BranchByRequest>(options.max_model_len);
  policies.tier = chosen.tier->make();
  policies.restore = chosen.restore->make();
  policies.retention = chosen.retention;
  EngineConfig config;
  config.tiers = {options.host_blocks, options.disk_blocks, options.block_tokens, options.tier_prefix_key};
  config.scheduler = {options.max_num_seqs, options.max_num_batched_tokens, options.max_model_len, options.long_prefill_token_threshold};
  config.scheduler.seals_blocks = options.seals_blocks;
  config.scheduler.ends_at_blocks = options.ends_at_blocks;
  config.kv_blocks = options.kv_blocks;
  config.block_tokens = options.block_tokens;
  config.vocab_size = options.vocab_size;
  config.max_waiting = options.max_waiting;
  config.limits = options.limits;
  config.reuses_segments = options.segment_cache;
  config.scheduler.cache_reuse = options.cache_reuse;
  config.closed_batches = chosen.batching->closed;
  config.reads_priority = chosen.queue->reads_priority || chosen.preempt->reads_priority;
  return std::make_unique<Engine>(config, std::move(pool), std::move(cache), std::move(policies), executor, clock,
                                  times);
}

}  // namespace sluice
