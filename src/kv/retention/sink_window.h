#pragma once
// Attention sinks and a window: the first few tokens stay, on which every head rests what attention it has to spare, and the
// newest; positions count within the cache, so that a stream of any length runs in constant memory. Without sinks it is a
// plain window. Approximates: what stood in between is forgotten. Lossy.
// Paper: StreamingLLM (Xiao et al., ICLR 2024).

#include <algorithm>

#include "kv/retention/kv_retention.h"

namespace sluice {

class SinkWindow final : public KvRetention {
 public:
  using KvRetention::KvRetention;
  bool positions_in_cache() const override { return true; }
  Protected protects(int count) const override {
    const int sinks = std::min(options_.sinks, count - 1);
    return {sinks, count - sinks};
  }
};

}  // namespace sluice
