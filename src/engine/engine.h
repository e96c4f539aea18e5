#pragma once
// The loop: requests come in from any thread, steps run on one, tokens go out through sinks. The same class serves and
// simulates; what differs is the Executor and the Clock it is given.

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/event.h"
#include "base/result.h"
#include "engine/engine_times.h"
#include "engine/request_limits.h"
#include "kv/block_pool.h"
#include "kv/prefix/prefix_cache.h"
#include "sched/executor.h"
#include "sched/scheduler.h"

namespace sluice {

using RequestId = uint64_t;

struct EngineConfig {
  SchedulerConfig scheduler;
  int kv_blocks = 0;
  int block_tokens = 16;
  int64_t vocab_size = 0;      // prompt tokens are checked against it; 0: unchecked
  int max_waiting = 1024;      // requests in the queue; one more is refused
  TierConfig tiers;            // host memory and disk beside the pool
  RequestLimits limits;        // of those that may enter the queue
  bool reuses_segments = false;  // the cache is a SegmentCache, and requests may have segments
  bool closed_batches = false;  // beams, which come and go, have no place in them
  bool reads_priority = false;  // the queue's policy does: without, a request's priority changes nothing
};

/// News of one sample of a request. The spans live only during the call.
struct Output {
  RequestId request = 0;
  int sample = 0;
  std::span<const SampledToken> tokens;  // newly sampled, in order; of a beam search all at the end, sample 0 the best
  std::span<const SampledToken> prompt;  // the prompt's own tokens, from its second on, under prompt_logprobs; once, in
                                         // order, with or before the first token of sample 0
  FinishReason finish = FinishReason::none;
  bool request_done = false;   // this was the last sample to finish; the sink is not called again
  int cached_tokens = 0;       // prompt tokens that the prefix cache held, and of segments those reused as they are
  std::string_view error;      // under FinishReason::error
};
/// Called on the engine's thread: it must not block, and must not call back into the engine but for cancel().
using Sink = std::function<void(const Output&)>;

/// A snapshot for metrics; counters only grow.
struct EngineStats {
  int running = 0, waiting = 0;            // sequences
  int total_blocks = 0, free_blocks = 0, cached_idle_blocks = 0;
  int kv_pages = 0, used_kv_pages = 0;  // of layers that read the last tokens only, where they have such
  uint64_t kv_pages_reclaimed = 0;      // pages that their blocks have lost to others
  uint64_t steps = 0, step_tokens = 0, preemptions = 0, finished_requests = 0;
  uint64_t prefix_queries_tokens = 0, prefix_hits_tokens = 0;
  uint64_t segment_hits_tokens = 0;        // of segments, reused as they are
  uint64_t prompt_tokens_prepared = 0;     // rows computed beside prompts: encodings of segments, probes, repairs
  uint64_t prompt_tokens_computed = 0, tokens_recomputed = 0, generation_tokens = 0, prompt_tokens = 0;
  uint64_t copied_blocks = 0;
  uint64_t kv_evictions = 0, kv_evicted_tokens = 0;  // of KV retention
  TierStats tiers;
  OffloadTraffic offload;
  Nanos load_ns = 0, load_span_ns = 0;     // as in StepResult, of all steps
  RefusedRequests refused;
  Nanos last_progress = 0;                 // when a step last settled, or the engine was last idle
};

class Engine {
 public:
  /// `times`: where the time of each step is added, or null.
  Engine(EngineConfig config, std::unique_ptr<BlockPool> pool, std::unique_ptr<PrefixCache> cache,
         SchedulerPolicies policies, Executor& executor, const Clock& clock, EngineTimes* times = nullptr);
  ~Engine();

  // --- from any thread ---
  /// Queues the request. Errors: invalid_argument with both numbers when it does not fit the context,
  /// resource_exhausted when the queue is full or a limit says so, and then `retry_after_s` (where not null) is when trying
  /// again makes sense; unavailable after close().
  Result<RequestId> add(Request request, Sink sink, double* retry_after_s = nullptr);
  /// Queues all of a list of one client, each with its sink, or none. Errors as above; invalid_argument too when one
  /// client may not have so many waiting.
  Result<std::vector<RequestId>> add(std::vector<Request> requests, std::vector<Sink> sinks, double* retry_after_s = nullptr);
  /// Ends a request at the next step boundary and frees its blocks. `sample` -1: all samples. Unknown ids are ignored,
  /// since the end may cross the cancellation. The sink hears of every sample that this ends.
  void cancel(RequestId id, int sample = -1);
  /// Refuses new requests from now on; running ones go on.
  void close();
  EngineStats stats() const;
  /// Executor::expert_rows().
  std::vector<std::vector<int64_t>> expert_rows() const { return executor_.expert_rows(); }
  bool idle() const;
  const EngineConfig& config() const { return config_; }

  // --- from the loop's thread ---
  /// Plans, runs and settles one step. False when there is nothing to do, or not before held_until().
  bool step();
  /// After step() has returned false: when a gate that holds all requests back lets them go on; 0: there are none.
  Nanos held_until() const { return held_until_; }
  /// Steps until asked to stop; sleeps while idle.
  void run(std::stop_token stop);
  /// Adds an observer of events; before the first step.
  void observe(Observer* observer) { scheduler_.observe(observer); }
  /// Takes over what an earlier run has left on disk; before the first step. Returns how many blocks of it count.
  int recover(std::span<const RecoveredBlock> blocks) { return scheduler_.recover(blocks); }
  bool consistent(std::string* why) const { return scheduler_.consistent(why); }

 private:
  struct Live {
    RequestId id = 0;
    std::shared_ptr<const Request> request;
    Sink sink;
    std::map<int, SeqId> samples;  // those that have not finished; of a search its beams
    int unborn = 0;                // samples that will fork later
    int cached_tokens = -1;        // of its first admission; -1: not admitted yet
    bool has_token = false;
    int scored = 0;                // prompt tokens whose logprobs the sink has heard
  };
  struct Arrival { RequestId id; std::shared_ptr<const Request> request; Sink sink; };
  struct Cancellation { RequestId id; int sample; };

  Status check(const Request& request) const;
  void take_inbox();
  void end_sample(Live& live, int sample, FinishReason reason, std::string_view error);
  /// Ends the sample, and with sample 0 those that would have split off from it; of a search, everything.
  void end_with_unborn(Live& live, int sample, FinishReason reason, std::string_view error);
  void leaves_queue(const Live& live);
  void end_search(Live& live, FinishReason reason, std::string_view error);
  void deliver_search(Live& live, const Outcome& outcome);
  void fail_oldest();
  void deliver(const std::vector<Outcome>& outcomes);

  struct Accountant;  // turns events into EngineStats

  EngineConfig config_;
  std::unique_ptr<BlockPool> pool_;
  std::unique_ptr<PrefixCache> cache_;
  Scheduler scheduler_;
  Executor& executor_;
  const Clock& clock_;
  EngineTimes* const times_;

  mutable std::mutex mutex_;  // guards what stands below, up to the blank line
  std::condition_variable_any wake_;
  std::vector<Arrival> arrivals_;
  std::vector<Cancellation> cancellations_;
  bool closed_ = false;
  int queued_requests_ = 0;   // added and not yet admitted
  EngineStats stats_;
  bool busy_ = false;
  RequestLimiter limiter_;

  std::unordered_map<RequestId, Live> live_;
  int never_admitted_ = 0;    // of live_
  // What the limiter is told at the end of the step, which alone holds the lock.
  std::vector<std::shared_ptr<const Request>> left_queue_;
  int first_tokens_ = 0, ended_without_token_ = 0;
  std::map<SeqId, std::pair<RequestId, int>> owner_;
  std::unique_ptr<Accountant> accountant_;
  RequestId next_request_ = 1;
  Nanos held_until_ = 0;
};

}  // namespace sluice
