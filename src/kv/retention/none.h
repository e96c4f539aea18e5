#pragma once
// Keeps everything. Lossless.

#include "kv/retention/kv_retention.h"

namespace sluice {

class KeepAll final : public KvRetention {
 public:
  using KvRetention::KvRetention;
  bool evicts() const override { return false; }
  Protected protects(int count) const override { return {0, count}; }
};

}  // namespace sluice
