#pragma once
// Lossy KV retention where the bytes are (docs/adr/0013): adds up the scores that a policy goes by, chooses for every layer
// and KV head the slots that stay, and moves them to the front.
//
// Scores are sums over rows in their order, computed by plain code from the cache's own keys: the same in any batch and
// chunking, on any number of threads. They cost a second pass over the keys, for policies that want them.

#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "kv/retention/kv_retention.h"
#include "model/model.h"
#include "sched/step_plan.h"

namespace sluice {

class KvEvictor final : public LayerPolicy {
 public:
  /// All outlive it. `layers`: the cache, whose blocks are those of the plans.
  KvEvictor(std::shared_ptr<const KvRetention> policy, const Model& model, const Ops& ops, std::span<const KvLayerView> layers);

  /// Whether this model's layers, and rows of this format, can do what the policy asks.
  static Status check(const KvRetention& policy, const KvFormat& format, const ModelInfo& model);

  /// What the plan does before its items, and who they are.
  void prepare(const StepPlan& plan);
  /// What looks on at its forward pass; null where nothing has to be seen.
  LayerPolicy* observer() { return policy_->wants_scores() ? this : nullptr; }
  void before_attention(const LayerView& view) override;

  struct Stats {
    uint64_t evictions = 0, moved_rows = 0;  // of one layer and KV head
  };
  const Stats& stats() const { return stats_; }
  /// [slots] of a sequence that runs; for tests.
  std::span<const float> scores(SeqId seq, int layer, int kv_head) const;
  std::span<const int32_t> positions(SeqId seq, int layer, int kv_head) const;

 private:
  /// Of one sequence: by layer and KV head [slots].
  struct Cache {
    std::vector<std::vector<float>> scores;
    std::vector<std::vector<int32_t>> positions;
    int prompt_tokens = 0, max_tokens = 0;
    uint64_t seed = 0;
  };
  size_t at(int layer, int kv_head) const { return static_cast<size_t>(layer * kv_heads_ + kv_head); }
  void evict(const KvEviction& eviction);
  void move_rows(const KvEviction& eviction, const KvLayerView& layer, int kv_head, std::span<const int32_t> kept) const;
  void rotate_moved(const KvEviction& eviction, int layer, std::span<const int32_t> kept) const;
  void observe(const LayerView& view, const AttendSegment& segment, int kv_head, Cache& cache) const;

  std::shared_ptr<const KvRetention> policy_;
  const Model& model_;
  const Ops& ops_;
  const std::span<const KvLayerView> layers_;
  const int kv_heads_;
  std::unordered_map<SeqId, Cache> caches_;
  std::unordered_map<const BlockId*, Cache*> running_;  // of the plan being run, by their tables
  Stats stats_;
};

}  // namespace sluice
