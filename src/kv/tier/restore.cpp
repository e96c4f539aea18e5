#include "kv/tier/restore.h"

#include <algorithm>

namespace sluice {
namespace {

struct AlwaysLoad final : RestorePolicy {
  int blocks_to_load(const TierHit& hit, int) const override { return static_cast<int>(hit.blocks.size()); }
};

struct NeverLoad final : RestorePolicy {
  int blocks_to_load(const TierHit&, int) const override { return 0; }
};

/// A running mean that forgets: the last 16 samples weigh most.
class Recent {
 public:
  void add(double value) {
    mean_ = known_ ? mean_ + (value - mean_) / 16 : value;
    known_ = true;
  }
  bool known() const { return known_; }
  double mean() const { return mean_; }

 private:
  double mean_ = 0;
  bool known_ = false;
};

class Cheaper final : public RestorePolicy {
 public:
  int blocks_to_load(const TierHit& hit, int block_tokens) const override {
    const int all = static_cast<int>(hit.blocks.size());
    if (!token_ns_.known()) return all;  // after a start: to load is the better guess by far
    double load = 0;
    for (int i = 0; i < all; ++i) {
      const Recent& cost = hit.blocks[static_cast<size_t>(i)].tier == Tier::host ? host_ns_ : disk_ns_;
      if (!cost.known()) return std::min(all, i + kTryBlocks);  // a little of what has never been measured is tried
      load += cost.mean();
    }
    if (load <= token_ns_.mean() * all * block_tokens) return all;
    return probe_ ? std::min(all, kTryBlocks) : 0;  // now and then the slower one, which may have become faster
  }

  void learn(const RestoreSample& s) override {
    const double blocks = s.loaded_host + s.loaded_disk;
    probe_ = ++steps_ % kProbeEvery == 0;
    if (blocks == 0 && s.tokens >= kLeastTokens) token_ns_.add(static_cast<double>(s.step_ns) / s.tokens);
    // Of a step whose blocks came from both tiers the rest is the disk's.
    if (s.loaded_host > 0 && s.loaded_disk == 0) host_ns_.add(static_cast<double>(s.load_ns) / blocks);
    if (s.loaded_disk > 0 && (s.loaded_host == 0 || host_ns_.known()))
      disk_ns_.add(std::max(0.0, static_cast<double>(s.load_ns) - s.loaded_host * host_ns_.mean()) / s.loaded_disk);
  }

 private:
  static constexpr int kLeastTokens = 16;  // below, a step costs by the weights, not by its tokens
  static constexpr int kTryBlocks = 2;
  static constexpr int kProbeEvery = 256;  // steps
  Recent token_ns_, host_ns_, disk_ns_;
  uint64_t steps_ = 0;
  bool probe_ = false;
};

}  // namespace

std::span<const RestorePolicyEntry> restore_catalog() {
  static constexpr RestorePolicyEntry kEntries[] = {
      {"auto", "whichever has been the faster here", []() -> std::unique_ptr<RestorePolicy> { return std::make_unique<Cheaper>(); }},
      {"load", "always load", []() -> std::unique_ptr<RestorePolicy> { return std::make_unique<AlwaysLoad>(); }},
      {"recompute", "always compute again", []() -> std::unique_ptr<RestorePolicy> { return std::make_unique<NeverLoad>(); }},
  };
  return kEntries;
}

}  // namespace sluice
