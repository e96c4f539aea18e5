#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

namespace sluice {

/// Bytes [at, at + bytes.size()) of a block's, handed out to its pieces, which follow each other.
class PartOfBlock {
 public:
  PartOfBlock(size_t at, std::span<const uint8_t> bytes) : at_(at), bytes_(bytes) {}
  /// The next piece has `n` bytes: those of them that the part covers.
  void into(uint8_t* piece, size_t n) {
    const size_t from = std::max(at_, passed_), to = std::min(at_ + bytes_.size(), passed_ + n);
    if (from < to) std::memcpy(piece + (from - passed_), bytes_.data() + (from - at_), to - from);
    passed_ += n;
  }

 private:
  size_t at_, passed_ = 0;
  std::span<const uint8_t> bytes_;
};

}  // namespace sluice
