#pragma once
// Where a block's bytes stand in a file of blocks. A block is cut into parts, and the file has first the first parts of all
// slots, then their second ones, and so on:
//
//   header | index | part 0 of slot 0, 1, 2, ... | part 1 of slot 0, 1, 2, ... | ...
//
// So blocks in slots that follow each other are one large request even where their first layers are wanted before the others.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/ids.h"
#include "exec/async_io.h"

namespace sluice {

struct BlockLayout {
  BlockLayout() = default;
  /// `index_bytes` for each slot.
  BlockLayout(size_t block, size_t index_bytes, int n_slots)
      : block_bytes(block), slot_bytes(round_up(block)), slots(n_slots), data_at(kIoPage + round_up(index_bytes * static_cast<size_t>(n_slots))) {
    full_part = std::min(slot_bytes, round_up(std::max(block / kParts, kLeastPartBytes)));
    parts = static_cast<int>((slot_bytes + full_part - 1) / full_part);
    adjoining = static_cast<int>(std::clamp<size_t>(kRequestBytes / full_part, 1, kMostAdjoining));
  }
  static constexpr size_t round_up(size_t n) { return (n + kIoPage - 1) / kIoPage * kIoPage; }

  /// Of one slot, whole pages.
  size_t part_bytes(int part) const { return std::min(full_part, slot_bytes - part_at(part)); }
  /// Of them, those of the block itself.
  size_t filled_bytes(int part) const { return std::min(full_part, block_bytes - part_at(part)); }
  /// Of a part, its first byte in the block.
  size_t part_at(int part) const { return full_part * static_cast<size_t>(part); }
  uint64_t at(BlockId slot, int part) const {
    return data_at + uint64_t{part_at(part)} * static_cast<size_t>(slots) + uint64_t{part_bytes(part)} * slot;
  }
  uint64_t file_bytes() const { return data_at + uint64_t{slot_bytes} * static_cast<size_t>(slots); }

  size_t block_bytes = 0, slot_bytes = 0, full_part = 0;
  int slots = 0, parts = 0;
  int adjoining = 0;  // slots that one request covers at most
  size_t data_at = 0;

 private:
  // Parts small enough that several layers' computation covers one; requests large enough that a disk is at its full speed.
  static constexpr size_t kParts = 6, kLeastPartBytes = size_t{32} << 10, kRequestBytes = size_t{256} << 10, kMostAdjoining = 32;
};

}  // namespace sluice
