#include "exec/block_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <fstream>

#include "base/rng.h"

namespace sluice {
namespace {

constexpr BlockFileIdentity kIdentity{77, 10000, 16};  // no multiple of a page

struct TempFile {
  TempFile() : path(::testing::TempDir() + "sluice_block_file_" + std::to_string(::getpid())) { std::remove(path.c_str()); }
  ~TempFile() { std::remove(path.c_str()); }
  std::string path;
};

std::shared_ptr<const BlockKey> key_of(uint64_t i) {
  std::vector<TokenId> tokens(16, static_cast<TokenId>(i));
  const uint64_t parent = 1000 + i;
  return std::make_shared<const BlockKey>(BlockKey{next_block_hash(parent, tokens), parent, tokens});
}

void put(BlockFile& file, BlockId slot, uint64_t i) {
  std::memset(file.stage(), static_cast<int>(i % 251), kIdentity.block_bytes);
  file.write(slot, key_of(i));
}

/// Whether the slot gives back the bytes of block i.
bool holds(BlockFile& file, BlockId slot, uint64_t i) {
  const auto ticket = file.read(slot, key_of(i));
  const uint8_t* bytes = file.wait(ticket);
  bool equal = bytes != nullptr;
  for (size_t b = 0; equal && b < kIdentity.block_bytes; ++b) equal = bytes[b] == i % 251;
  file.release(ticket);
  return equal;
}

constexpr size_t kBytes = 100 * 13000;

std::unique_ptr<BlockFile> open(const std::string& path, BlockFileIdentity identity = kIdentity) {
  auto file = BlockFile::open(path, kBytes, identity);
  EXPECT_TRUE(file.ok()) << file.error().message;
  return file.ok() ? std::move(file).value() : nullptr;
}

TEST(BlockFile, GivesBackWhatWasWrittenLastInAnyOrder) {
  TempFile temp;
  auto file = open(temp.path);
  std::map<BlockId, uint64_t> model;
  Rng rng(1);
  for (uint64_t i = 0; i < 3000; ++i) {
    const BlockId slot = static_cast<BlockId>(rng.below(static_cast<uint64_t>(file->slots())));
    if (rng.below(2) == 0) {
      put(*file, slot, i);
      model[slot] = i;
    } else if (model.contains(slot)) {
      ASSERT_TRUE(holds(*file, slot, model[slot])) << "slot " << slot;
      ASSERT_FALSE(holds(*file, slot, model[slot] + 1)) << "another block's key";
    }
  }
  EXPECT_TRUE(file->take_failures().empty());
}

TEST(BlockFile, ManyReadsAreInFlightAtOnce) {
  TempFile temp;
  auto file = open(temp.path);
  for (BlockId s = 0; s < 60; ++s) put(*file, s, s);
  std::vector<BlockFile::Ticket> tickets;
  for (BlockId s = 0; s < static_cast<BlockId>(BlockFile::kReadsAtOnce); ++s) tickets.push_back(file->read(s, key_of(s)));
  put(*file, 70, 70);  // writes go on beside them
  for (size_t s = 0; s < tickets.size(); ++s) {
    const uint8_t* bytes = file->wait(tickets[s]);
    ASSERT_NE(bytes, nullptr);
    EXPECT_EQ(bytes[5], s);
    file->release(tickets[s]);
  }
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
  for (int round = 0; round < 30; ++round) {
    {
      std::fstream raw(temp.path, std::ios::in | std::ios::out | std::ios::binary);
      raw.seekp(static_cast<std::streamoff>(4096 + rng.below(size - 4096)));
      const char noise = static_cast<char>(rng.below(256));
      raw.write(&noise, 1);
    }
    auto file = open(temp.path);
    for (const RecoveredBlock& block : file->recovered()) {
      const auto ticket = file->read(block.slot, block.key);
      const uint8_t* bytes = file->wait(ticket);
      if (bytes != nullptr) {
        for (size_t b = 0; b < kIdentity.block_bytes; ++b) ASSERT_EQ(bytes[b], bytes[0]) << "damaged bytes of slot " << block.slot;
        ASSERT_EQ(block.key->hash, key_of(bytes[0])->hash);
      }
      file->release(ticket);
    }
  }
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
