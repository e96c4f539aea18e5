// sluice bench kv-disk: the file of the KV tiers against plain sequential direct I/O of the same size, on the same disk.

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <deque>

#include "apps/bench/bench.h"
#include "base/clock.h"
#include "base/machine.h"
#include "base/options.h"
#include "base/rng.h"
#include "exec/async_io.h"
#include "exec/kv_arena.h"
#include "exec/kv_tiers.h"
#include "kv/block_hash.h"

namespace sluice {
namespace {

struct Rates {
  double write = 0, read = 0;  // GB/s
  void best_of(const Rates& other) { write = std::max(write, other.write), read = std::max(read, other.read); }
};

double rate(size_t bytes, Nanos ns) { return static_cast<double>(bytes) / static_cast<double>(std::max<Nanos>(1, ns)); }

/// Pieces of 1 MiB one after the other, 32 at once.
Result<Rates> plain(const std::string& folder, size_t bytes) {
  constexpr size_t kPiece = size_t{1} << 20;
  constexpr int kAtOnce = 32;
  bytes = bytes / kPiece * kPiece;
  SLUICE_TRY(const int fd, open_nameless_file(folder, bytes));
  const auto io = open_async_io(fd, kAtOnce);
  SLUICE_TRY(Buffer memory, Buffer::allocate(kPiece * kAtOnce + kIoPage));
  uint8_t* first = memory.data() + (kIoPage - reinterpret_cast<uintptr_t>(memory.data()) % kIoPage) % kIoPage;
  std::memset(first, 1, kPiece * kAtOnce);
  const std::span<uint8_t> held[] = {{first, kPiece * kAtOnce}};
  io->hold(held);
  Rates rates;
  RealClock clock;
  for (const bool writes : {true, true, false}) {  // the first pass makes the file's extents
    const Nanos start = clock.now();
    size_t asked = 0, done = 0;
    std::deque<uint64_t> free;
    for (uint64_t i = 0; i < kAtOnce; ++i) free.push_back(i);
    while (done < bytes) {
      while (asked < bytes && !free.empty()) {
        io->start({writes, first + kPiece * free.front(), kPiece, asked, free.front()});
        free.pop_front();
        asked += kPiece;
      }
      const IoDone one = io->wait();
      if (one.error != 0) return io_error(fmt::format("{}: {}", folder, std::strerror(one.error)));
      free.push_back(one.tag);
      done += kPiece;
    }
    (writes ? rates.write : rates.read) = rate(bytes, clock.now() - start);
  }
  return rates;
}

/// Blocks out of a pool and back into it, as the tiers move them.
Result<Rates> through_tiers(const std::string& folder, size_t bytes, size_t block_bytes, bool scattered, ThreadPool& threads) {
  // A layer of one head of 64 dims has 8 KiB a block.
  const int layers = static_cast<int>(std::max<size_t>(1, block_bytes >> 13));
  const KvSpec spec{{{KvGroup::Kind::full, 0, layers, 1, 64, 0}}};
  const BlockFileIdentity identity{1, KvArena::block_bytes(spec, kKvF32, 16), 16};
  const int blocks = static_cast<int>(bytes / identity.block_bytes);
  const std::string path = fmt::format("{}/sluice-bench-{}", folder, ::getpid());
  const int apart = scattered ? 2 : 1;
  auto file = BlockFile::open(path, BlockFile::bytes_for(apart * blocks, identity), identity);
  std::remove(path.c_str());
  if (!file.ok()) return file.error();
  SLUICE_TRY(KvTiers tiers, KvTiers::allocate(0, std::move(*file), identity.block_bytes));
  SLUICE_TRY(KvArena pool, KvArena::allocate(spec, kKvF32, blocks, 16));
  std::vector<BlockId> slots(static_cast<size_t>(blocks));
  for (int i = 0; i < blocks; ++i) slots[static_cast<size_t>(i)] = static_cast<BlockId>(apart * i);
  Rng rng(1);
  for (size_t i = slots.size(); scattered && i > 1; --i) std::swap(slots[i - 1], slots[rng.below(i)]);
  std::vector<KvCopy> save, load;
  for (int i = 0; i < blocks; ++i) {
    const auto id = static_cast<BlockId>(i);
    std::vector<TokenId> tokens(16, i);
    const auto key = std::make_shared<const BlockKey>(BlockKey{next_block_hash(1, tokens), 1, tokens});
    save.push_back({id, slots[id], 16, Tier::pool, Tier::disk, key});
    load.push_back({slots[id], id, 16, Tier::disk, Tier::pool, key});
  }
  const std::vector<uint8_t> content(identity.block_bytes, 3);
  for (int i = 0; i < blocks; ++i) pool.put(static_cast<BlockId>(i), content.data());
  Rates rates;
  RealClock clock;
  const size_t moved = identity.block_bytes * static_cast<size_t>(blocks);
  for (int pass = 0; pass < 2; ++pass) {
    const Nanos start = clock.now();
    tiers.run(save, pool, threads);
    tiers.idle();
    rates.write = rate(moved, clock.now() - start);
    if (!tiers.finish().lost.empty()) return io_error(folder + ": blocks could not be written");
  }
  const Nanos start = clock.now();
  tiers.run(load, pool, threads);
  const bool lost = !tiers.finish().lost.empty();
  rates.read = rate(moved, clock.now() - start);
  if (lost) return io_error(folder + ": blocks could not be read");
  return rates;
}

}  // namespace

Result<int> bench_kv_disk(const std::vector<std::string>& args) {
  std::string path = ".";
  ByteSize bytes{int64_t{256} << 20}, block{int64_t{192} << 10};
  int repeats = 3, threads = 0;
  bool scattered = false;
  OptionSet options("sluice bench kv-disk",
                    "How fast KV blocks go to disk and come back (--kv-disk), beside plain sequential direct I/O. The best of some runs in turn.");
  options.add("--path", path, "a folder on the disk; what is written there is removed");
  options.add("--bytes", bytes, "how much is written and read; the system's memory cache is passed by, a virtual machine's host may keep it");
  options.add("--block-bytes", block, "of one block of all layers; 16 tokens of a 0.5B model in f16 take 192K");
  options.add("--threads", threads, "that share in copying blocks, as in the server; 0: one for each core");
  options.add("--scattered", scattered, "blocks in every other slot, at random: the worst that a long life of the file can make of it");
  options.add("--repeats", repeats, "runs of each");
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  if (block.bytes < 8 << 10 || bytes.bytes < block.bytes || bytes.bytes < 1 << 20 || repeats < 1)
    return invalid_argument("at least 1 MiB, one block of at least 8 KiB, and one run are wanted", "--bytes");
  if (threads < 0 || threads > 1024) return invalid_argument(fmt::format("--threads is {}; it must be from 0 to 1024", threads), "--threads");
  ThreadPool pool(threads > 0 ? threads : usable_cores());
  Rates disk, tiers;
  for (int i = 0; i < repeats; ++i) {
    SLUICE_TRY(const Rates a, plain(path, static_cast<size_t>(bytes.bytes)));
    SLUICE_TRY(const Rates b, through_tiers(path, static_cast<size_t>(bytes.bytes), static_cast<size_t>(block.bytes), scattered, pool));
    disk.best_of(a), tiers.best_of(b);
  }
  std::fputs(fmt::format("{:<22} {:>12} {:>12}\n{:<22} {:>12.2f} {:>12.2f}\n{:<22} {:>12.2f} {:>12.2f}\n{:<22} {:>11.0f}% {:>11.0f}%\n", "", "write GB/s", "read GB/s",
                         "plain, sequential", disk.write, disk.read, "blocks of the tiers", tiers.write, tiers.read, "of plain", 100 * tiers.write / disk.write,
                         100 * tiers.read / disk.read)
                 .c_str(),
             stdout);
  return 0;
}

}  // namespace sluice
