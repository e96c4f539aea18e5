#include "exec/block_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <utility>

#include "base/rng.h"
#include "tests/support/blocks_on_disk.h"

namespace sluice {
namespace {

using namespace test;  // NOLINT

TEST(BlockFile, APartsBytesStandWhereNoOthersDo) {
  for (const size_t block : {size_t{100}, size_t{10000}, size_t{100000}, size_t{196608}, size_t{5} << 20}) {
    const BlockLayout layout(block, 96, 7);
    std::map<uint64_t, uint64_t> ranges;
    size_t filled = 0;
    for (int part = 0; part < layout.parts; ++part) {
      filled += layout.filled_bytes(part);
      for (BlockId slot = 0; slot < 7; ++slot) {
        ranges[layout.at(slot, part)] = layout.part_bytes(part);
        EXPECT_EQ(layout.at(slot, part) % kIoPage + layout.part_bytes(part) % kIoPage, 0u);
        if (slot == 0) continue;
        EXPECT_EQ(layout.at(slot, part), layout.at(slot - 1, part) + layout.part_bytes(part)) << "neighbours are one request";
      }
    }
    EXPECT_EQ(filled, block);
    uint64_t end = ranges.begin()->first;
    EXPECT_GE(end, kIoPage + 7 * 96);
    for (const auto& [at, n] : ranges) EXPECT_EQ(at, std::exchange(end, at + n)) << "blocks of " << block;
    EXPECT_EQ(end, layout.file_bytes());
    EXPECT_LE(static_cast<size_t>(layout.adjoining) * layout.full_part, std::max(layout.full_part, size_t{1} << 20)) << "staging memory is bounded";
  }
}

TEST(BlockFile, GivesBackWhatWasWrittenLastInAnyOrder) {
  TempFile temp;
  auto file = open(temp.path);
  std::map<BlockId, uint64_t> model;
  Rng rng(1);
  const auto most = static_cast<uint64_t>(file->layout().adjoining);
  ASSERT_GT(most, 1u);
  for (uint64_t i = 0; i < 600; ++i) {
    const int n = static_cast<int>(1 + rng.below(most));
    const BlockId slot = static_cast<BlockId>(rng.below(static_cast<uint64_t>(file->slots() - n)));
    if (rng.below(2) == 0) {
      put(*file, slot, i * 100, n);
      for (int k = 0; k < n; ++k) model[slot + static_cast<BlockId>(k)] = i * 100 + static_cast<uint64_t>(k);
    } else if (model.contains(slot)) {
      // Some of the run may be of other writes, or hold nothing.
      const std::vector<bool> good = hold(*file, slot, model[slot], n);
      for (int k = 0; k < n; ++k) {
        const auto at = model.find(slot + static_cast<BlockId>(k));
        EXPECT_EQ(good[static_cast<size_t>(k)], at != model.end() && at->second == model[slot] + static_cast<uint64_t>(k)) << "slot " << slot + static_cast<BlockId>(k);
      }
      ASSERT_FALSE(holds(*file, slot, model[slot] + 1)) << "another block's key";
    }
  }
  EXPECT_TRUE(file->take_failures().empty());
}

TEST(BlockFile, ManyReadsAreInFlightAtOnce) {
  TempFile temp;
  auto file = open(temp.path);
  for (BlockId s = 0; s < 60; ++s) put(*file, s, s);
  file->drain();
  std::vector<BlockFile::Ticket> tickets;
  for (BlockId s = 0; s < static_cast<BlockId>(BlockFile::kReadsAtOnce); ++s) tickets.push_back(file->read(s, 1, 1));
  put(*file, 70, 70, file->layout().adjoining);  // writes go on beside them
  for (size_t s = 0; s < tickets.size(); ++s) {
    file->wait(tickets[s]);
    const uint8_t* bytes = file->bytes(tickets[s], 0);
    ASSERT_NE(bytes, nullptr);
    EXPECT_EQ(bytes[5], byte_of(s, file->layout().part_at(1) + 5));
    file->release(tickets[s]);
  }
  EXPECT_TRUE(holds(*file, 70, 70));
}

TEST(BlockFile, SurvivesARestart) {
  TempFile temp;
  {
    auto file = open(temp.path);
    EXPECT_TRUE(file->recovered().empty());
    for (BlockId s = 0; s < 20; ++s) put(*file, s, s);
    put(*file, 3, 99);
  }
  auto file = open(temp.path);
  ASSERT_EQ(file->recovered().size(), 20u);
  for (const RecoveredBlock& block : file->recovered()) {
    const uint64_t i = block.slot == 3 ? 99 : block.slot;
    EXPECT_EQ(block.key->hash, key_of(i)->hash);
    EXPECT_EQ(block.key->tokens, key_of(i)->tokens);
    EXPECT_TRUE(holds(*file, block.slot, i));
  }
}

TEST(BlockFile, WhatWasDrainedSurvivesADeathWithoutGoodbye) {
  TempFile temp;
  const pid_t child = ::fork();
  if (child == 0) {
    auto file = BlockFile::open(temp.path, kBytes, kIdentity);
    if (!file.ok()) ::_exit(1);
    for (BlockId s = 0; s < 5; ++s) put(**file, s, s);
    (*file)->drain();
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  auto file = open(temp.path);
  ASSERT_EQ(file->recovered().size(), 5u);
  for (BlockId s = 0; s < 5; ++s) EXPECT_TRUE(holds(*file, s, s));
}

TEST(BlockFile, IsItsOwnersAloneAndNeverALink) {
  TempFile temp;
  { std::ofstream(temp.path) << ""; }
  ::chmod(temp.path.c_str(), 0666);
  open(temp.path).reset();
  struct stat info {};
  ASSERT_EQ(::stat(temp.path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const std::string link = temp.path + ".link";
  std::remove(link.c_str());
  ASSERT_EQ(::symlink(temp.path.c_str(), link.c_str()), 0);
  auto through = BlockFile::open(link, kBytes, kIdentity);
  std::remove(link.c_str());
  ASSERT_FALSE(through.ok());
  EXPECT_NE(through.error().message.find("symbolic link"), std::string::npos) << through.error().message;
}

TEST(BlockFile, ItsKeyIsItsOwnAndStays) {
  TempFile one;
  const uint64_t key = open(one.path)->prefix_key();
  EXPECT_NE(key, 0u);
  EXPECT_EQ(open(one.path)->prefix_key(), key);
  ASSERT_EQ(::truncate(one.path.c_str(), 0), 0);
  EXPECT_NE(open(one.path)->prefix_key(), key);
}

TEST(BlockFile, BeginsAnewWhereACrashLeftAFileWithoutAHeader) {
  TempFile temp;
  { std::ofstream(temp.path) << std::string(20000, '\0'); }
  auto file = open(temp.path);
  ASSERT_NE(file, nullptr);
  EXPECT_TRUE(file->recovered().empty());
  put(*file, 1, 1);
  EXPECT_TRUE(holds(*file, 1, 1));
}

TEST(BlockFile, WhatCannotBeHadCostsNothingOfWhatIsThere) {
  TempFile temp;
  {
    auto file = open(temp.path);
    for (BlockId s = 0; s < 20; ++s) put(*file, s, s);
  }
  auto huge = BlockFile::open(temp.path, size_t{1} << 50, kIdentity);
  ASSERT_FALSE(huge.ok());
  EXPECT_NE(huge.error().message.find("no room"), std::string::npos) << huge.error().message;
  EXPECT_EQ(open(temp.path)->recovered().size(), 20u);
}

TEST(BlockFile, DamagedBytesAndTornEntriesAreNeverGivenOut) {
  TempFile temp;
  size_t size = 0;
  {
    auto file = open(temp.path);
    for (BlockId s = 0; s < 50; ++s) put(*file, s, s);
    struct stat info {};
    ::stat(temp.path.c_str(), &info);
    size = static_cast<size_t>(info.st_size);
  }
  Rng rng(9);
  size_t lost = 0;
  for (int round = 0; round < 60; ++round) {
    {
      std::fstream raw(temp.path, std::ios::in | std::ios::out | std::ios::binary);
      // Every other time in the index.
      raw.seekp(static_cast<std::streamoff>(4096 + rng.below(round % 2 == 0 ? 50 * BlockIndex::entry_bytes(16) : size - 4096)));
      const char noise = static_cast<char>(rng.below(256));
      raw.write(&noise, 1);
    }
    auto file = open(temp.path);
    size_t good = 0;
    for (const RecoveredBlock& block : file->recovered()) {
      EXPECT_EQ(block.key->hash, key_of(block.slot)->hash);
      good += holds(*file, block.slot, block.slot);  // which compares the bytes
    }
    lost = 50 - good;
  }
  EXPECT_GT(lost, 10u);
  EXPECT_LT(lost, 50u);
}

TEST(BlockFile, RefusesWhatIsNotItsOwn) {
  TempFile temp;
  { std::ofstream(temp.path) << "somebody's letters"; }
  auto foreign = BlockFile::open(temp.path, kBytes, kIdentity);
  ASSERT_FALSE(foreign.ok());
  EXPECT_NE(foreign.error().message.find("is no KV file"), std::string::npos) << foreign.error().message;
  std::string text;
  std::getline(std::ifstream(temp.path), text);
  EXPECT_EQ(text, "somebody's letters") << "it was overwritten";
  std::remove(temp.path.c_str());

  auto mine = open(temp.path);
  auto twice = BlockFile::open(temp.path, kBytes, kIdentity);
  ASSERT_FALSE(twice.ok());
  EXPECT_NE(twice.error().message.find("in use"), std::string::npos);
  mine.reset();
  auto other_model = BlockFile::open(temp.path, kBytes, {78, kIdentity.block_bytes, 16});
  ASSERT_FALSE(other_model.ok());
  EXPECT_NE(other_model.error().message.find("another model"), std::string::npos);
  {
    std::fstream raw(temp.path, std::ios::in | std::ios::out | std::ios::binary);
    raw.seekp(8);
    raw.put(1);
  }
  auto older = BlockFile::open(temp.path, kBytes, kIdentity);
  ASSERT_FALSE(older.ok());
  EXPECT_NE(older.error().message.find("another version"), std::string::npos) << older.error().message;
  EXPECT_FALSE(BlockFile::open(temp.path, 5000, kIdentity).ok());
  EXPECT_FALSE(BlockFile::open("/proc/nowhere/kv", kBytes, kIdentity).ok());
}

TEST(BlockFile, AFullDiskIsAnErrorAtTheStart) {
  TempFile temp;
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto ignored = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{kBytes / 2, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  auto file = BlockFile::open(temp.path, kBytes, kIdentity);
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, ignored);
  ASSERT_FALSE(file.ok());
  EXPECT_NE(file.error().message.find("no room"), std::string::npos) << file.error().message;
}

TEST(BlockFile, AWriteThatFailsIsReportedAndTheSlotHoldsNothing) {
  TempFile temp;
  auto file = open(temp.path);
  put(*file, 4, 4);
  file->drain();
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto ignored = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{8192, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  put(*file, 90, 5);
  file->drain();
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, ignored);
  EXPECT_EQ(file->take_failures(), std::vector<uint64_t>{key_of(5)->hash});
  EXPECT_FALSE(holds(*file, 90, 5));
  EXPECT_TRUE(holds(*file, 4, 4));
}

}  // namespace
}  // namespace sluice
