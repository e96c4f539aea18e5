#include "apps/tier_flags.h"

#include <algorithm>

#include "apps/progress.h"
#include "base/machine.h"
#include "weights/fingerprint.h"

namespace sluice {

// To be raised with every change of a kernel that changes its bits: what an older version has computed is then refused.
constexpr uint64_t kArithmetic = 2;

void TierFlags::declare(OptionSet& o) {
  o.add("--swap-space", swap_space,
        "host memory beside the KV cache that keeps the blocks of preempted sequences and of prefixes that had to leave; 0: none");
  o.add("--kv-disk", kv_disk,
        "a file that keeps every full KV block: what a preempted or returning conversation, or the server after a restart, "
        "needs again is loaded instead of computed; none when absent");
  o.add("--kv-disk-bytes", kv_disk_bytes, "size of that file, reserved at the start; 0: 4 GiB");
}

Status check_tier_choices(const EngineOptions& engine, bool any, const char* remedy) {
  const EngineOptions defaults;
  if (!any && engine.kv_restore != defaults.kv_restore)
    return invalid_argument(fmt::format("--kv-restore has no use where nothing is kept beside the KV cache; give {}", remedy), "--kv-restore");
  if (!any && engine.kv_tier_policy != defaults.kv_tier_policy)
    return invalid_argument(fmt::format("--kv-tier-policy has no use where nothing is kept beside the KV cache; give {}", remedy), "--kv-tier-policy");
  return {};
}

Status TierFlags::check(const EngineOptions& engine) const {
  SLUICE_TRY_STATUS(check_tier_choices(engine, any(), "--swap-space or --kv-disk"));
  if (kv_disk_bytes.bytes < 0) return invalid_argument(fmt::format("--kv-disk-bytes is {}; it must be at least 0", kv_disk_bytes.bytes), "--kv-disk-bytes");
  if (kv_disk.empty() && kv_disk_bytes.bytes != 0)
    return invalid_argument("--kv-disk-bytes has no use without --kv-disk, the file that is to be of this size", "--kv-disk-bytes");
  if (swap_space.bytes < 0 || swap_space.bytes > static_cast<int64_t>(memory_limit().available_bytes))
    return invalid_argument(fmt::format("--swap-space is {}; {} of memory are free", format_bytes(static_cast<double>(swap_space.bytes)),
                                        format_bytes(static_cast<double>(memory_limit().available_bytes))), "--swap-space");
  return {};
}

size_t TierFlags::memory_bytes(size_t block_bytes) const {
  return static_cast<size_t>(swap_space.bytes) + (kv_disk.empty() ? 0 : BlockFile::staging_bytes(block_bytes));
}

Result<KvTiers> TierFlags::open(const std::string& model, const std::string& path, size_t block_bytes,
                                EngineOptions& options, std::vector<std::string>& notes) const {
  options.host_blocks = static_cast<int>(std::min<int64_t>(swap_space.bytes / static_cast<int64_t>(block_bytes), 1 << 28));
  if (swap_space.bytes > 0 && options.host_blocks == 0)
    return invalid_argument(fmt::format("--swap-space holds no block of {} bytes", block_bytes), "--swap-space");
  if (options.host_blocks > 0)
    notes.push_back(fmt::format("KV in host memory: {} blocks ({})", options.host_blocks, format_bytes(static_cast<double>(swap_space.bytes))));
  options.tier_prefix_key = random_prefix_key();
  std::unique_ptr<BlockFile> file;
  if (!kv_disk.empty()) {
    SLUICE_TRY(const auto source, open_tensor_source(model));  // the file itself, whatever --repack makes of it
    Progress progress("telling by its bytes which model this is, for --kv-disk");
    SLUICE_TRY(uint64_t fingerprint, model_fingerprint(*source, [&progress](size_t done, size_t all) {
      progress.update(static_cast<double>(done), static_cast<double>(all));
    }));
    fingerprint ^= kArithmetic;
    for (const char c : path) fingerprint = (fingerprint ^ static_cast<uint8_t>(c)) * 0x100000001b3ull;  // FNV-1a's step
    SLUICE_TRY(file, BlockFile::open(kv_disk, static_cast<size_t>(disk_bytes()), {fingerprint, block_bytes, options.block_tokens}));
    options.disk_blocks = file->slots();
    options.tier_prefix_key = file->prefix_key();
    notes.push_back(fmt::format("KV on disk: {} blocks ({}) in {}, {} found there; {} I/O", file->slots(),
                                format_bytes(static_cast<double>(disk_bytes())), kv_disk, file->recovered().size(),
                                file->asynchronous() ? "asynchronous" : "synchronous (the kernel refuses io_uring)"));
  }
  return KvTiers::allocate(options.host_blocks, std::move(file), block_bytes);
}

}  // namespace sluice
