#include <fstream>

#include "lab/workloads.h"

namespace sluice::lab {
namespace {

Result<Finding> run_restart(const Setting& setting) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  const int prefix = std::min(bench->max_positions() - 64, 1600) / 16 * 16, n = setting.quick ? 4 : 16;
  Load load;
  Rng rng(4);
  for (int i = 0; i < n; ++i) load.requests.push_back(forced_request(random_tokens(rng, bench->vocab(), prefix), 8, static_cast<uint64_t>(i)));
  EngineOptions options = engine_options(prefix + 64, n * (prefix + 64));
  options.max_num_seqs = 1;
  options.kv_restore = "load";
  options.disk_blocks = n * (prefix + 64) / options.block_tokens;
  const std::string disk = setting.scratch + "/kv";
  SLUICE_TRY(const Run before, bench->run(options, load, kKvF32, disk));
  SLUICE_TRY(const Run after, bench->run(options, load, kKvF32, disk));
  // Bytes that change under the file: whatever they were, they are computed again.
  {
    std::fstream file(disk, std::ios::in | std::ios::out | std::ios::binary | std::ios::ate);
    const auto size = static_cast<int64_t>(file.tellp());
    for (int64_t at = 5000; at < size; at += size / 37) file.seekp(at), file.write("damage", 6);
  }
  SLUICE_TRY(const Run damaged, bench->run(options, load, kKvF32, disk));
  Request stranger = load.requests[0];
  stranger.salt = 99;
  SLUICE_TRY(const Run tenant, bench->run(options, {{stranger}, {}}, kKvF32, disk));

  Finding f;
  std::string why;
  bool same = same_outputs(before, after, &why);
  f.must("equal bits after a restart", same, why);
  same = same_outputs(before, damaged, &why);
  f.must("equal bits from a damaged file", same, fmt::format("{}, {} blocks lost", why, damaged.stats.tiers.lost));
  f.must("damage is noticed", damaged.stats.tiers.lost > 0);
  f.must("another tenant's request finds nothing", tenant.stats.tiers.loaded_disk == 0);
  const auto ttft = [](const Run& run) { return static_cast<double>(run.records[0].ttft()) / 1e6; };
  f.effect = {fmt::format("TTFT of the first request after a restart, {} tokens", prefix), "ms", ttft(before), ttft(after), Better::lower, true};
  f.count("prompt tokens computed", static_cast<double>(before.stats.prompt_tokens_computed), static_cast<double>(after.stats.prompt_tokens_computed));
  f.count("blocks loaded from disk", static_cast<double>(before.stats.tiers.loaded_disk), static_cast<double>(after.stats.tiers.loaded_disk));
  const auto ms = [](Nanos ns) { return static_cast<double>(ns) / 1e6; };
  f.count("ms that loading from disk took, and of it that steps waited, the rest beside earlier layers (timed)", ms(after.stats.load_span_ns), ms(after.stats.load_ns));
  return f;
}

}  // namespace

extern const Experiment kRestart;
const Experiment kRestart = {
    .name = "restart",
    .ids = "V9 V10",
    .group = "kv",
    .technique = "Prefix cache on disk: hash-chained blocks that survive a restart, loaded layer by layer while earlier layers compute",
    .paper = "hash chains as in Kwon et al., SOSP 2023, 4.4; Gao et al., CachedAttention, USENIX ATC 2024",
    .file = "src/exec/block_file.h",
    .flag = "`--kv-disk FILE`",
    .test = "`src/exec/block_file_test.cpp` (damage, foreign files, full disks), `AfterARestartPrefixesComeFromDisk`",
    .baseline = "an empty file",
    .workload = "4 prompts of 1,600 tokens, before and after a restart, and from a damaged file",
    .holds = "lossless: tokens are compared, bytes have checksums, tenants are apart",
    .run = run_restart};

}  // namespace sluice::lab
