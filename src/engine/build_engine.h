#pragma once
// Puts an engine together from names and numbers, as flags give them. The server, the benchmarks, the simulator and the
// tests all build theirs here.

#include <memory>
#include <string>

#include "engine/engine.h"
#include "kv/recent_pages.h"
#include "sched/gate/catalog.h"

namespace sluice {

struct EngineOptions {
  std::string scheduling_policy = "fcfs";
  std::string chunk_policy = "stall-free";
  std::string batching = "continuous";
  std::string admission_policy = "watermark";
  std::string preemption_policy = "recompute";
  std::string prefix_cache = "radix";
  std::string kv_allocator = "paged";
  bool segment_cache = false;  // requests may name segments whose KV is reused though it is no prefix
  int cache_reuse = 0;         // least tokens that are found elsewhere in the prefix cache and reused by a shift; 0: none are looked for
  std::string length_predictor;  // "": running-mean, where a policy reads it
  std::string client_weights;    // "a=2,b=1"
  double aging_ms = 0;  // 0: the queue policy's own
  std::string kv_tier_policy = "queue-aware";
  std::string kv_restore = "auto";
  int host_blocks = 0, disk_blocks = 0;  // of the tiers beside the pool
  uint64_t tier_prefix_key = 0;          // TierConfig::prefix_key
  std::string kv_retention = "none";
  RetentionOptions retention;
  double max_queue_delay_ms = 0;
  double watermark = kDefaultWatermark;
  int chunked_prefill_size = 0;
  double tbt_target_ms = 0;
  int forward_tokens = 0;
  int long_prefill_token_threshold = 0;
  int max_num_seqs = 256;
  int max_num_batched_tokens = 2048;
  int max_model_len = 2048;
  int kv_blocks = 0;
  int block_tokens = 16;
  RecentKv recent;  // of the model's layers that read the last tokens only
  bool seals_blocks = false, ends_at_blocks = false;  // of the KV format (SchedulerConfig)
  int64_t vocab_size = 0;
  int max_waiting = 1024;
  RequestLimits limits;
  // What step times are predicted from; null: the engine's own steps.
  std::shared_ptr<StepTimeEstimate> step_time;
};

/// The names and ranges, which can be checked before it is known how large the KV cache is. Errors as below.
Status check_scheduling(const EngineOptions& options);
/// The policy of kv_retention, for the executor too, which keeps what it says. The options have been checked.
std::shared_ptr<const KvRetention> retention_of(const EngineOptions& options);
/// Why layers that read the last tokens only have to keep all of their KV under these options; empty: they need not.
std::string why_not_recent(const EngineOptions& options);
/// What build_engine() refuses, asked before there is anything to run on. Errors name the flag and list the known
/// names.
Status check_engine_options(const EngineOptions& options);
/// `executor`, `clock` and `times` outlive the engine; what its steps take
/// is added to `times`, where it is not null.
Result<std::unique_ptr<Engine>> build_engine(const EngineOptions& options, Executor& executor, const Clock& clock,
                                             EngineTimes* times = nullptr);

}  // namespace sluice
