#pragma once
// Runs plans on this machine: copies blocks, computes all items as one ragged batch, samples. Owns the KV bytes.

#include <algorithm>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "exec/kv_arena.h"
#include "exec/kv_evictor.h"
#include "exec/kv_tiers.h"
#include "model/model.h"
#include "sample/sampler.h"
#include "sched/executor.h"

namespace sluice {

/// Where the time of all steps went so far, in ns.
struct StepTimes {
  Nanos copy = 0, forward = 0, sample = 0;
  uint64_t steps = 0, rows = 0, sampled = 0;
};

class LocalExecutor final : public Executor {
 public:
  /// `retention`: the scheduler's, or null where everything stays.
  LocalExecutor(Model& model, const Ops& ops, std::unique_ptr<KvStore> kv, KvTiers tiers = {}, std::shared_ptr<const KvRetention> retention = nullptr)
      : model_(model), ops_(ops), kv_(std::move(kv)), tiers_(std::move(tiers)) {
    samplers_.resize(ops.pool().size());
    has_pages_ = std::ranges::any_of(kv_->layers(), &KvLayerView::in_pages);
    if (retention != nullptr && retention->evicts()) evictor_ = std::make_unique<KvEvictor>(std::move(retention), model, ops, kv_->layers());
  }
  LocalExecutor(Model& model, const Ops& ops, KvArena kv, KvTiers tiers = {})
      : LocalExecutor(model, ops, std::make_unique<KvArena>(std::move(kv)), std::move(tiers)) {}

  /// Computes in the calling thread and the pool; the result is there when it returns.
  Ticket submit(const StepPlan& plan) override;
  std::optional<StepResult> poll(Ticket ticket) override;
  void idle() override { tiers_.idle(); }
  std::vector<std::vector<int64_t>> expert_rows() const override;

  const StepTimes& times() const { return times_; }
  const KvStore& kv() const { return *kv_; }
  const KvTiers& tiers() const { return tiers_; }
  /// Null where everything stays.
  const KvEvictor* evictor() const { return evictor_.get(); }

 private:
  /// The rows of the items that are probes, or of all others.
  void gather(const StepPlan& plan, bool probes);
  void probe(const StepPlan& plan);
  void finish_tiers();

  Model& model_;
  const Ops& ops_;
  std::unique_ptr<KvStore> kv_;
  KvTiers tiers_;
  std::unique_ptr<KvEvictor> evictor_;
  RealClock clock_;
  std::vector<Sampler> samplers_;  // one per worker
  // The batch, reused from step to step.
  std::vector<TokenId> tokens_;
  std::vector<int32_t> positions_, logit_rows_;
  struct Places {
    std::vector<int64_t> slots;
    std::vector<AttendSegment> segments;
  };
  Places blocks_, pages_;  // pages_: of layers whose KV is in such
  bool has_pages_ = false;
  struct Wanted {
    int item, prompt_token;
  };  // of a row of logits: the token to be scored, or -1 to sample
  std::vector<Wanted> wanted_;
  std::vector<uint8_t> finite_;  // by row of logits
  std::vector<float> logits_;
  StepResult result_;
  StepTimes times_;
  Ticket ticket_ = 0;
};

}  // namespace sluice
