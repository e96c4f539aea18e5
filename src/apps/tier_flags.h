#pragma once
// The flags of the KV tiers beside the pool: host memory (--swap-space) and disk (--kv-disk).

#include <string>

#include "base/options.h"
#include "engine/build_engine.h"
#include "exec/kv_tiers.h"
#include "model/model.h"

namespace sluice {

struct TierFlags {
  ByteSize swap_space;
  std::string kv_disk;
  ByteSize kv_disk_bytes;  // 0: see disk_bytes()

  void declare(OptionSet& options);
  /// `engine` says what is to be done with them: refused where there are none.
  Status check(const EngineOptions& engine) const;
  /// What it takes beside the KV cache, for blocks of so many bytes.
  size_t memory_bytes(size_t block_bytes) const;
  int64_t disk_bytes() const { return kv_disk_bytes.bytes > 0 ? kv_disk_bytes.bytes : int64_t{4} << 30; }
  bool any() const { return swap_space.bytes > 0 || !kv_disk.empty(); }
  /// The tiers for blocks of `block_bytes` of this model; sets the sizes in `options`. `path` names what the KV of two runs must have
  /// in common besides the model: the arithmetic, the KV format and --repack. Notes what there is.
  Result<KvTiers> open(const std::string& model, const std::string& path, size_t block_bytes, EngineOptions& options,
                       std::vector<std::string>& notes) const;
};

/// Refuses choices about tiers where there are no tiers; `remedy` names the flags that make some.
Status check_tier_choices(const EngineOptions& engine, bool any, const char* remedy);

}  // namespace sluice
