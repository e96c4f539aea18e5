// sluice bench attention: one layer's attention over a long context, by KV format, depth and block size. No model is
// needed: the shape is given.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

#include "apps/bench/bench.h"
#include "apps/bench/roofline.h"
#include "apps/catalog_help.h"
#include "backend/op_meter.h"
#include "backend/ops.h"
#include "base/clock.h"
#include "base/machine.h"
#include "base/options.h"
#include "base/rng.h"
#include "kv/block_pool.h"
#include "sim/placement.h"

namespace sluice {
namespace {

struct AttentionFlags {
  int heads = 14, kv_heads = 2, head_dim = 64, rows = 1, threads = 0, repetitions = 5;
  std::vector<std::string> formats, depths{"16384"}, block_tokens{"16"};
  std::string isa, placement = "pool";
  bool cached = false;
};

constexpr size_t kBeyondCaches = size_t{192} << 20;

/// K and V of several layers, so that each comes from memory as in a model; its times, each the mean over the layers.
struct Case {
  const KvFormat* format;
  int depth, block_tokens;
  KvLayerView view;  // of the first layer
  size_t layer_bytes = 0, layers = 1;
  Buffer memory;
  std::vector<BlockId> blocks, open_tiles;  // open_tiles: of block formats, all the same one
  std::vector<double> us;

  static Result<Case> make(const AttentionFlags& f, const KvFormat& format, int depth, int block_tokens) {
    block_tokens = format.fitting_block(block_tokens);
    Case c{.format = &format, .depth = depth, .block_tokens = block_tokens};
    Rng rng(1);
    c.blocks = find_placement(f.placement)->table(depth, block_tokens, rng);
    const int cluster = format.block != nullptr ? 1 : cluster_blocks(block_tokens), tile_tokens = block_tokens * cluster;
    const auto count = static_cast<size_t>(std::ranges::max(c.blocks)) / static_cast<size_t>(cluster) + 1;  // of tiles of a head
    const size_t tile = format.tile_bytes(tile_tokens, f.head_dim), row = format.row_bytes(f.head_dim),
                 side = format.side_offset(tile_tokens, f.head_dim);
    const size_t half = tile * count * static_cast<size_t>(f.kv_heads);
    c.layer_bytes = 2 * half;
    const size_t read = 2 * c.blocks.size() * format.tile_bytes(block_tokens, f.head_dim) * static_cast<size_t>(f.kv_heads);
    if (!f.cached) c.layers = std::max<size_t>(2, kBeyondCaches / read);
    const size_t open = format.block != nullptr ? kKvF16.tile_bytes(block_tokens, f.head_dim) * static_cast<size_t>(f.kv_heads) : 0;
    SLUICE_TRY(c.memory, Buffer::allocate(c.layers * c.layer_bytes + open));
    uint8_t* at = c.memory.data();
    c.view = {&format, block_tokens, f.kv_heads, f.head_dim, at, at + half};
    c.view.blocks_of_tile = cluster;
    if (format.block != nullptr) {
      c.open_tiles.assign(count, 0);
      c.view.open_k = c.view.open_v = at + c.layers * c.layer_bytes;  // zeros
      c.view.open_tiles = c.open_tiles.data();
    }
    std::vector<float> x(static_cast<size_t>(f.head_dim * (format.block != nullptr ? block_tokens : 1)));
    for (size_t i = 0; i < c.layer_bytes; i += tile)
      for (size_t token = 0; token < static_cast<size_t>(tile_tokens); ++token) {
        for (float& v : x) v = static_cast<float>(rng.next_double() - 0.5);
        if (format.block != nullptr) {
          format.block->encode(i < half ? KvPart::keys : KvPart::values, x.data(), block_tokens, f.head_dim, at + i);
          break;
        }
        format.encode(x.data(), f.head_dim, at + i + token * row, at + i + side + token * static_cast<size_t>(format.side_bytes));
      }
    for (size_t i = 1; i < c.layers; ++i) std::memcpy(at + i * c.layer_bytes, at, c.layer_bytes);
    return c;
  }

  KvLayerView layer(size_t i) const {
    KvLayerView v = view;
    v.k += i * layer_bytes;
    v.v += i * layer_bytes;
    return v;
  }
};

double median(std::vector<double> x) {
  std::ranges::sort(x);
  return 0.5 * (x[(x.size() - 1) / 2] + x[x.size() / 2]);
}

Result<std::vector<const KvFormat*>> parse_formats(const std::vector<std::string>& names) {
  std::vector<const KvFormat*> out;
  for (const std::string& name : names) {
    const auto found = std::ranges::find(kv_formats(), name, &KvFormat::name);
    if (found == kv_formats().end())
      return invalid_argument(fmt::format("--kv-cache-dtype '{}': there is no such KV format", name), "--kv-cache-dtype");
    out.push_back(*found);
  }
  if (names.empty()) out = {&kKvF16, &kKvInt8, &kKvFp8, &kKvInt4};
  return out;
}

Status check(const AttentionFlags& f) {
  const auto must = [](bool holds, const char* flag, int value, const char* right) -> Status {
    return holds ? Status() : invalid_argument(fmt::format("{} is {}; it must be {}", flag, value, right), flag);
  };
  SLUICE_TRY_STATUS(must(f.kv_heads >= 1 && f.kv_heads <= 1024, "--kv-heads", f.kv_heads, "from 1 to 1024"));
  SLUICE_TRY_STATUS(must(f.heads >= f.kv_heads && f.heads <= 1024 && f.heads % f.kv_heads == 0, "--heads", f.heads,
                         "a multiple of --kv-heads, up to 1024"));
  SLUICE_TRY_STATUS(must(f.head_dim >= 1 && f.head_dim <= 1024, "--head-dim", f.head_dim, "from 1 to 1024"));
  SLUICE_TRY_STATUS(must(f.rows >= 1 && f.rows <= 65536, "--rows", f.rows, "from 1 to 65536"));
  SLUICE_TRY_STATUS(must(f.threads >= 0 && f.threads <= 1024, "--threads", f.threads, "from 0 to 1024"));
  if (find_placement(f.placement) == nullptr)
    return invalid_argument(fmt::format("--placement '{}': there is no such one; {}", f.placement, catalog_help("known are", placements())), "--placement");
  return must(f.repetitions >= 1, "--repetitions", f.repetitions, "at least 1");
}

}  // namespace

Result<int> bench_attention(const std::vector<std::string>& args) {
  AttentionFlags f;
  OptionSet options("sluice bench attention",
                    "Times one layer's attention of the last rows over a long context, in each KV format, against what reading "
                    "its keys and values and its multiplications take at the roofline.");
  options.add("--kv-cache-dtype", f.formats, "KV formats, a list; f16, int8, fp8, int4 when absent");
  options.add("-d,--n-depth", f.depths, "positions, a list");
  options.add("--block-size", f.block_tokens, "tokens per block, a list");
  options.add("--heads", f.heads, "query heads");
  options.add("--kv-heads", f.kv_heads, "KV heads");
  options.add("--head-dim", f.head_dim, "values of a head");
  options.add("--rows", f.rows, "rows of the sequence that are computed; 1 is a decode step");
  options.add("-t,--threads", f.threads, "threads; 0: the cores that this process may use");
  options.add("-r,--repetitions", f.repetitions, "times of each case, which take turns");
  options.add("--placement", f.placement, catalog_help("where the blocks are", placements()));
  options.add("--cached", f.cached, "the same layer again and again, which caches may hold: shows the arithmetic alone");
  options.add("--isa", f.isa, catalog_help("kernel table; the best here when absent", op_tables()));
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  SLUICE_TRY_STATUS(check(f));
  SLUICE_TRY(const auto formats, parse_formats(f.formats));
  SLUICE_TRY(const auto depths, parse_numbers(f.depths, "--n-depth", f.rows));
  SLUICE_TRY(const auto block_sizes, parse_numbers(f.block_tokens, "--block-size", 1));
  SLUICE_TRY(const OpTable* table, select_op_table(f.isa));
  ThreadPool pool(f.threads > 0 ? f.threads : usable_cores());
  const Ops ops(*table, pool);
  const Roofline roofline = measure_roofline(*table, pool);

  std::vector<Case> cases;
  for (const int depth : depths)
    for (const int block_tokens : block_sizes)
      for (const KvFormat* format : formats) {
        SLUICE_TRY(Case c, Case::make(f, *format, depth, block_tokens));
        cases.push_back(std::move(c));
      }
  std::vector<float> q(static_cast<size_t>(f.rows) * static_cast<size_t>(f.heads) * static_cast<size_t>(f.head_dim)), out(q.size());
  Rng rng(2);
  for (float& x : q) x = static_cast<float>(rng.next_double() - 0.5);
  const float scale = 1 / std::sqrt(static_cast<float>(f.head_dim));
  RealClock clock;
  for (int repetition = -1; repetition < f.repetitions; ++repetition)  // the first warms up
    for (Case& c : cases) {
      const AttendSegment segment{0, f.rows, c.depth - f.rows, c.blocks.data()};
      constexpr Nanos kLeast = 50'000'000;
      const Nanos start = clock.now();
      Nanos end = start;
      size_t calls = 0;
      for (; end - start < kLeast || calls % c.layers != 0; end = clock.now(), ++calls)
        ops.attend({q.data(), out.data(), f.heads, scale, 0, c.layer(calls % c.layers), {&segment, 1}});
      if (repetition >= 0) c.us.push_back(static_cast<double>(end - start) / 1e3 / static_cast<double>(calls));
    }

  std::fputs(fmt::format("{}, {} threads, {} query heads, {} KV heads of {} values, {} rows, placement {}\n{}{:>8} {:>8} {:>6} {:>10} {:>8} {:>10} {:>12} {:>8} {:>8}\n",
                         table->isa, pool.size(), f.heads, f.kv_heads, f.head_dim, f.rows, f.placement, to_text(roofline), "format", "depth",
                         "block", "us", "GB/s", "GFLOP/s", "of roofline", "rate x", "time x")
                 .c_str(),
             stdout);
  for (size_t i = 0; i < cases.size(); ++i) {
    const Case& c = cases[i];
    const AttendSegment segment{0, f.rows, c.depth - f.rows, c.blocks.data()};
    const OpWork work = attend_work({q.data(), out.data(), f.heads, scale, 0, c.view, {&segment, 1}});
    const double us = median(c.us), memory_us = work.bytes / roofline.memory_gbps / 1e3,
                 compute_us = work.operations / roofline.peak(work.arithmetic) / 1e3;
    // Repetition by repetition: the rate against the first format at the same depth and block size, and the time against the first
    // block size of the same format and depth.
    const size_t of_depth = formats.size() * block_sizes.size();
    const Case &first_format = cases[i / formats.size() * formats.size()], &first_block = cases[i / of_depth * of_depth + i % formats.size()];
    std::vector<double> rates, times;
    for (size_t r = 0; r < c.us.size(); ++r) rates.push_back(first_format.us[r] / c.us[r]), times.push_back(c.us[r] / first_block.us[r]);
    std::fputs(fmt::format("{:>8} {:>8} {:>6} {:>10.1f} {:>8.1f} {:>10.0f} {:>5.0f} % {:<4} {:>8.2f} {:>8.2f}\n", c.format->name, c.depth,
                           c.block_tokens, us, work.bytes / us / 1e3, work.operations / us / 1e3,
                           100 * std::max(memory_us, compute_us) / us, memory_us > compute_us ? "mem" : name_of(work.arithmetic),
                           median(rates), median(times))
                   .c_str(),
               stdout);
  }
  return 0;
}

}  // namespace sluice
