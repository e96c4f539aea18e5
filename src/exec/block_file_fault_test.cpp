// What devices that fail, and deaths in between, leave of a file of blocks.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <limits>
#include <map>
#include <set>

#include "base/rng.h"
#include "exec/block_file.h"
#include "tests/support/blocks_on_disk.h"
#include "tests/support/failing_io.h"

namespace sluice {
namespace {

using namespace test;  // NOLINT

/// A device of which some bytes can be neither read nor written, and which may keep requests for ever.
class SpottedIo final : public AsyncIo {
 public:
  explicit SpottedIo(size_t bytes) : device_(bytes, 5) {}
  std::set<uint64_t> spots;
  int requests = 0, keeps_from = std::numeric_limits<int>::max();

  void start(const IoRequest& r) override {
    if (requests++ >= keeps_from) return;
    if (const auto spot = spots.lower_bound(r.at); spot != spots.end() && *spot < r.at + r.size) failed_.push_back(r.tag);
    else device_.start(r), ++flying_;
  }
  std::optional<IoDone> poll() override { return failed_.empty() && flying_ == 0 ? std::nullopt : std::optional(wait()); }
  IoDone wait() override {
    if (failed_.empty()) return --flying_, device_.wait();
    const uint64_t tag = failed_.back();
    failed_.pop_back();
    return {tag, EIO};
  }
  bool asynchronous() const override { return true; }

 private:
  FailingIo device_;
  std::vector<uint64_t> failed_;
  int flying_ = 0;
};

TEST(BlockFileFault, AFaultInARequestForSeveralBlocksIsThatOfTheBlockThatHasIt) {
  TempFile temp;
  auto io = std::make_unique<SpottedIo>(kBytes + (1 << 20));
  SpottedIo& device = *io;
  auto file = open(temp.path, std::move(io));
  const BlockLayout& layout = file->layout();
  const int n = layout.adjoining;
  ASSERT_GE(n, 6);
  put(*file, 10, 10, n);
  file->drain();
  EXPECT_EQ(device.requests, layout.parts) << "a request for each part of all blocks";
  device.spots = {layout.at(13, 0) + 5000, layout.at(15, layout.parts - 1)};
  std::vector<bool> good = hold(*file, 10, 10, n);
  for (int k = 0; k < n; ++k) EXPECT_EQ(good[static_cast<size_t>(k)], k != 3 && k != 5) << k;
  // The same where it is written.
  put(*file, 10, 50, n);
  file->drain();
  const std::vector<uint64_t> failures = file->take_failures();
  EXPECT_EQ(std::set<uint64_t>(failures.begin(), failures.end()), (std::set<uint64_t>{key_of(53)->hash, key_of(55)->hash}));
  device.spots.clear();
  good = hold(*file, 10, 50, n);
  for (int k = 0; k < n; ++k) EXPECT_EQ(good[static_cast<size_t>(k)], k != 3 && k != 5) << k;
  file.reset();
  EXPECT_EQ(open(temp.path)->recovered().size(), static_cast<size_t>(n - 2));
}

TEST(BlockFileFault, OnADeviceThatFailsAtRandomNoWrongByteIsGivenOut) {
  TempFile temp;
  auto io = std::make_unique<FailingIo>(kBytes + (1 << 20), 3);
  FailingIo& device = *io;
  auto file = open(temp.path, std::move(io));
  Rng rng(2);
  const auto most = static_cast<uint64_t>(file->layout().adjoining);
  std::map<BlockId, uint64_t> model;  // what is in a slot, as far as its write has not failed
  std::map<uint64_t, BlockId> slot_of;
  int kept = 0, given = 0;
  device.fail_one_in(6);
  for (uint64_t i = 1; i < 300; ++i) {
    const int n = static_cast<int>(1 + rng.below(most));
    const BlockId slot = static_cast<BlockId>(rng.below(static_cast<uint64_t>(file->slots() - n)));
    put(*file, slot, i * 100, n);
    for (int k = 0; k < n; ++k) {
      const BlockId at = slot + static_cast<BlockId>(k);
      model[at] = i * 100 + static_cast<uint64_t>(k);
      slot_of[key_of(model[at])->hash] = at;
    }
    file->drain();
    for (const uint64_t hash : file->take_failures()) model.erase(slot_of.at(hash));
    if (!model.contains(slot)) continue;
    ++kept;
    given += holds(*file, slot, model[slot]);  // whose bytes it looks at
  }
  EXPECT_GT(device.failures(), 100u);
  EXPECT_GT(given, kept / 4);
  device.fail_one_in(0);
  for (const auto& [slot, i] : model) EXPECT_TRUE(holds(*file, slot, i)) << "it was written well";
}

TEST(BlockFileFault, ADeathAmidAWriteLeavesSlotsThatHoldNothing) {
  for (const int before : {0, 1, 3}) {  // requests of the last write that come to their end
    TempFile temp;
    const pid_t child = ::fork();
    if (child == 0) {
      auto io = std::make_unique<SpottedIo>(kBytes + (1 << 20));
      SpottedIo& device = *io;
      auto file = BlockFile::open(temp.path, kBytes, kIdentity, std::move(io));
      if (!file.ok() || (*file)->layout().parts != 4) ::_exit(1);
      put(**file, 0, 0, 6);
      (*file)->drain();
      device.keeps_from = device.requests + before;
      put(**file, 2, 20, 3);
      (*file)->reap();
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
    std::set<BlockId> slots;
    const auto file = open(temp.path);
    for (const RecoveredBlock& block : file->recovered()) slots.insert(block.slot);
    EXPECT_EQ(slots, (std::set<BlockId>{0, 1, 5}));
  }
}

}  // namespace
}  // namespace sluice
