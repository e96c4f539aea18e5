#include "engine/engine_times.h"

#include <utility>

namespace sluice {
namespace {

class TimedPrefixCache final : public PrefixCache {
 public:
  TimedPrefixCache(std::unique_ptr<PrefixCache> cache, EngineTimes& times, const Clock& clock)
      : cache_(std::move(cache)), times_(times), clock_(clock) {}

  void on(const Event& event) override {
    LapTimer lap(&times_, clock_);
    cache_->on(event);
    lap.mark(&EngineTimes::prefix_cache);
  }
  PrefixHit match(CacheSalt salt, std::span<const TokenId> tokens) const override {
    LapTimer lap(&times_, clock_);
    PrefixHit hit = std::as_const(*cache_).match(salt, tokens);
    lap.mark(&EngineTimes::prefix_cache);
    return hit;
  }
  void commit(CacheSalt salt, const PrefixHit& hit, std::span<const TokenId> tokens) override {
    LapTimer lap(&times_, clock_);
    cache_->commit(salt, hit, tokens);
    lap.mark(&EngineTimes::prefix_cache);
  }
  void insert(CacheSalt salt, std::span<const TokenId> tokens, int full_blocks, BlockTable& table) override {
    LapTimer lap(&times_, clock_);
    cache_->insert(salt, tokens, full_blocks, table);
    lap.mark(&EngineTimes::prefix_cache);
  }
  int evict(int blocks) override {
    LapTimer lap(&times_, clock_);
    const int evicted = cache_->evict(blocks);
    lap.mark(&EngineTimes::prefix_cache);
    return evicted;
  }
  int evictable() const override {
    LapTimer lap(&times_, clock_);
    const int blocks = cache_->evictable();
    lap.mark(&EngineTimes::prefix_cache);
    return blocks;
  }
  int size() const override { return cache_->size(); }
  bool consistent() const override { return cache_->consistent(); }
  SegmentCache* segments() override { return cache_->segments(); }

 private:
  std::unique_ptr<PrefixCache> cache_;
  EngineTimes& times_;
  const Clock& clock_;
};

}  // namespace

std::unique_ptr<PrefixCache> timed(std::unique_ptr<PrefixCache> cache, EngineTimes& times, const Clock& clock) {
  return std::make_unique<TimedPrefixCache>(std::move(cache), times, clock);
}

}  // namespace sluice
