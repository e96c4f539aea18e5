#pragma once
// The two beds that experiments run on: a model on this machine, and the simulator. Both send requests through an
// engine that build_engine() made, and return the same record of it.

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "backend/op_meter.h"
#include "engine/build_engine.h"
#include "exec/local_executor.h"
#include "exec/virtual_arena.h"
#include "lab/experiment.h"
#include "sim/serving_report.h"
#include "sim/sim_executor.h"
#include "sim/step_cost.h"
#include "weights/weight_store.h"

namespace sluice::lab {

struct Load {
  std::vector<Request> requests;
  std::vector<Nanos> arrivals;  // ascending from 0; empty: all at once
};

/// Tokens and the bits of their logprobs, by (request, sample): two runs gave the same outputs when these are equal.
struct SampleOutput {
  std::vector<TokenId> tokens;
  std::vector<uint32_t> logprob_bits;
  std::vector<std::vector<TokenLogprob>> top;  // by token, as many as the request asked for
  bool operator==(const SampleOutput&) const = default;
};
using Outputs = std::map<std::pair<size_t, int>, SampleOutput>;

/// As it was after a step had settled.
struct StepRecord {
  Nanos at = 0;
  int running = 0, waiting = 0;  // sequences
  int tokens = 0;                // positions that the step computed
  int finished = 0;              // requests that ended with it
};

struct Run {
  std::vector<RequestRecord> records;  // by request
  std::vector<StepRecord> steps;
  Outputs outputs;
  std::map<size_t, std::vector<float>> scored;  // of requests with prompt_logprobs: the prompt's tokens from the second on
  std::map<size_t, std::vector<TokenId>> likeliest;  // where that is 1 and more: the token that was likeliest in each one's place
  EngineStats stats;
  ServingReport report;
  EngineTimes times;           // real where the bed is, but for `execute` of a simulation
  std::vector<Nanos> waited;   // from each request's arrival to its first admission; -1: never admitted
  Nanos longest_step = 0;      // of the executor
  int peak_blocks = 0;         // most blocks held by sequences at once
  double mean_free_share = 0;  // of the pool, over steps
  int peak_running = 0;        // most sequences at once
  double attention_bytes = 0;  // keys and values that attention read; 0 when simulated
  Nanos attention_ns = 0;
  VirtualArena::Counts page_groups;  // under --kv-allocator virtual on a real model
  size_t kv_physical_bytes = 0;      // the same: backed at the end, which is the most that were

  int failed() const { return report.failed; }
  double mean_running() const;  // sequences, over steps
};

inline constexpr int kTileTokens = 16;  // of page groups, under --kv-allocator virtual: what kernels read as a block

/// A model on this machine.
class Bench {
 public:
  static Result<std::unique_ptr<Bench>> open(const Setting& setting);

  /// Serves the load on a fresh engine with an empty KV cache of `options.kv_blocks` blocks.
  /// Its `host_blocks` are beside the cache, its `disk_blocks` in the file `disk`, which outlives the run.
  Result<Run> run(const EngineOptions& options, const Load& load, const KvFormats& kv = kKvF32, const std::string& disk = {},
                  const KvOffload& offload = {});
  Model& model() { return *model_; }
  int64_t vocab() const { return model_->info().vocab_size; }
  int max_positions() const { return static_cast<int>(model_->info().max_positions); }

 private:
  explicit Bench(int threads, const OpTable& table) : pool_(threads), ops_(table, pool_) {}

  ThreadPool pool_;
  Ops ops_;
  OpMeter meter_;
  std::unique_ptr<WeightStore> weights_;
  std::unique_ptr<Model> model_;
};

/// The same on a virtual clock, where a step takes what `cost` says. Deterministic.
Result<Run> simulate(const EngineOptions& options, const Load& load, const StepCost& cost = StepCost::built_in(),
                     const TierCost& tiers = {});

/// Room for `tokens` of KV and contexts of `context`; every policy the default.
EngineOptions engine_options(int context, int tokens);
/// The same with blocks that the formats take, and as many tokens of them.
EngineOptions fitted(EngineOptions options, const KvFormats& kv);
/// Of one position over all layers, in the smallest blocks of at least 16 tokens that the formats take; open blocks apart.
double kv_token_bytes(Model& model, const KvFormats& kv);

}  // namespace sluice::lab
