#pragma once
// A model made ready to run: flags, weights, KV cache, executor and engine, put together in one place for run, serve
// and bench.

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "apps/offload_flags.h"
#include "apps/plan_choice.h"
#include "apps/tier_flags.h"
#include "base/options.h"
#include "engine/build_engine.h"
#include "exec/local_executor.h"
#include "model/model.h"
#include "weights/weight_store.h"

namespace sluice {

/// The flags of scheduling and prefix caching, for everything that builds an engine, real or simulated. The policies'
/// names come from their catalogs.
void declare_scheduling(OptionSet& options, EngineOptions& engine);

/// The flags that every command running a model shares. Names are vLLM's; short ones are llama.cpp's.
struct EngineFlags {
  std::string model;
  int threads = 0;  // 0: the usable cores
  std::string isa;  // "": the best
  std::string repack;  // a recipe's name; "": as the file has them
  std::string matmul_tuning = "auto";
  std::string kv_cache_dtype = "auto";
  ByteSize kv_cache_memory;  // 0: sized from what is free
  ByteSize kv_page_group{int64_t{64} << 10};  // of one layer's keys, under --kv-allocator virtual
  double memory_utilization = 0.9;
  double swa_full_tokens_ratio = 0.25;
  bool enable_prefix_caching = true;
  TierFlags tiers;
  OffloadFlags offload;
  EngineOptions engine;

  void declare(OptionSet& options);
  /// Whatever can be refused before the model is known.
  Status check() const;
  /// `engine` with what other flags say of it; of tiers, whether there are any.
  EngineOptions asked() const;
};

struct EngineStack {
  std::shared_ptr<TensorSource> source;
  std::jthread mapper;  // of a native pack: map_ahead()
  std::unique_ptr<ThreadPool> pool;
  const OpTable* table = nullptr;
  std::unique_ptr<Ops> ops;
  TuningMode matmul_tuning = TuningMode::off;
  std::unique_ptr<WeightStore> weights;
  size_t weight_bytes = 0;  // that loading will come to
  std::unique_ptr<Model> model;
  std::unique_ptr<LocalExecutor> executor;
  std::unique_ptr<Clock> clock;
  KvFormats kv_formats = kKvF32;
  KvOffload offload;
  KvTiers tiers;                   // until load() gives them to the executor
  EngineOptions options;           // as they were resolved
  int tile_tokens = 16;            // of the blocks that kernels read: --block-size
  int open_blocks = 0;             // of a block format (KvStoreOptions)
  std::vector<std::string> notes;  // how memory was divided, for the start log

  /// Chooses the plans of the products, reads the weights and allocates the KV cache: the slow part, once, before an
  /// engine is made.
  Status load();
  /// Of one position over all layers.
  size_t kv_token_bytes() const {
    return KvArena::block_bytes(model->kv(), kv_formats, tile_tokens) / static_cast<size_t>(tile_tokens);
  }
  /// A fresh engine on this executor; one at a time. `wrapped` replaces the stack's own, to record or simulate; `times`
  /// is build_engine()'s.
  Result<std::unique_ptr<Engine>> make_engine(Executor* wrapped = nullptr, const EngineOptions* changed = nullptr,
                                              EngineTimes* times = nullptr);
};

/// The model's tensors as the flags ask for them: those of the file, or encoded by `pool` (--repack).
Result<std::shared_ptr<TensorSource>> open_weights(const EngineFlags& flags, ThreadPool& pool);

/// Opens the source, sizes the KV cache, and checks the flags, the model's settings, its tensors' names and shapes and
/// that everything fits: whatever can be refused without reading a weight.
Result<std::unique_ptr<EngineStack>> open_engine_stack(const EngineFlags& flags);
/// Opens and loads.
Result<std::unique_ptr<EngineStack>> load_engine_stack(const EngineFlags& flags);

}  // namespace sluice
