#pragma once
// A file of blocks of which each has bytes of its own, to be written and looked at in runs.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "exec/block_file.h"
#include "kv/block_hash.h"

namespace sluice::test {

inline constexpr BlockFileIdentity kIdentity{77, 100000, 16};  // no multiple of a page, four parts

/// A name for a file that is gone afterwards.
struct TempFile {
  TempFile() : path(::testing::TempDir() + "sluice_block_file_" + std::to_string(::getpid())) { std::remove(path.c_str()); }
  ~TempFile() { std::remove(path.c_str()); }
  std::string path;
};

inline std::shared_ptr<const BlockKey> key_of(uint64_t i) {
  std::vector<TokenId> tokens(16, static_cast<TokenId>(i));
  const uint64_t parent = 1000 + i;
  return std::make_shared<const BlockKey>(BlockKey{next_block_hash(parent, tokens), parent, tokens});
}

/// Byte b of block i.
inline uint8_t byte_of(uint64_t i, size_t b) { return static_cast<uint8_t>(i * 13 + b * 7 + b / 251); }

/// Writes blocks i, i + 1, ... to slots that follow each other.
inline void put(BlockFile& file, BlockId slot, uint64_t i, int n = 1) {
  const BlockLayout& layout = file.layout();
  std::vector<std::shared_ptr<const BlockKey>> keys;
  file.stage(n);
  for (int k = 0; k < n; ++k) {
    const uint64_t block = i + static_cast<uint64_t>(k);
    for (int part = 0; part < layout.parts; ++part)
      for (size_t b = 0; b < layout.filled_bytes(part); ++b) file.staged(k, part)[b] = byte_of(block, layout.part_at(part) + b);
    file.seal(k);
    keys.push_back(key_of(block));
  }
  file.write(slot, std::move(keys));
}

/// Of slots that follow each other, read together: whether each gives back the bytes of block i, i + 1, ...
inline std::vector<bool> hold(BlockFile& file, BlockId slot, uint64_t i, int n) {
  const BlockLayout& layout = file.layout();
  std::vector<BlockCheck> checks;
  std::vector<bool> equal(static_cast<size_t>(n), true), good;
  for (int k = 0; k < n; ++k) {
    const BlockId each = slot + static_cast<BlockId>(k);
    file.wait_until_idle(each);
    checks.emplace_back(file.what(each), key_of(i + static_cast<uint64_t>(k))->hash);
  }
  for (int part = 0; part < layout.parts; ++part) {
    const auto ticket = file.read(slot, n, part);
    file.wait(ticket);
    for (int k = 0; k < n; ++k) {
      const uint8_t* bytes = file.bytes(ticket, k);
      if (bytes == nullptr) {
        checks[static_cast<size_t>(k)].fail();
        continue;
      }
      checks[static_cast<size_t>(k)].add({bytes, layout.filled_bytes(part)});
      for (size_t b = 0; b < layout.filled_bytes(part); ++b)
        if (bytes[b] != byte_of(i + static_cast<uint64_t>(k), layout.part_at(part) + b)) equal[static_cast<size_t>(k)] = false;
    }
    file.release(ticket);
  }
  for (size_t k = 0; k < checks.size(); ++k) {
    good.push_back(checks[k].good());
    EXPECT_TRUE(!good[k] || equal[k]) << "other bytes than those of the key pass for good, slot " << slot + k;
  }
  return good;
}

inline bool holds(BlockFile& file, BlockId slot, uint64_t i) { return hold(file, slot, i, 1)[0]; }

/// Of the file: some 100 slots.
inline constexpr size_t kBytes = 100 * 103000;

inline std::unique_ptr<BlockFile> open(const std::string& path, std::unique_ptr<AsyncIo> io = nullptr) {
  auto file = BlockFile::open(path, kBytes, kIdentity, std::move(io));
  EXPECT_TRUE(file.ok()) << file.error().message;
  return file.ok() ? std::move(file).value() : nullptr;
}

}  // namespace sluice::test
