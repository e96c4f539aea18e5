#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

namespace sluice {

/// Bytes [at, at + bytes.size()) of a block's pieces, which follow each other, handed out to them or gathered from them.
template <class Byte>
class PartOfBlock {
 public:
  PartOfBlock(size_t at, std::span<Byte> bytes) : at_(at), bytes_(bytes) {}
  /// The next piece has `n` bytes: those of them that the part covers.
  void into(uint8_t* piece, size_t n) {
    const auto [from, to] = next(n);
    if (from < to) std::memcpy(piece + (from - start_), bytes_.data() + (from - at_), to - from);
  }
  void out_of(const uint8_t* piece, size_t n) {
    const auto [from, to] = next(n);
    if (from < to) std::memcpy(bytes_.data() + (from - at_), piece + (from - start_), to - from);
  }

 private:
  struct Range {
    size_t from, to;
  };
  Range next(size_t n) {
    start_ = passed_;
    passed_ += n;
    return {std::max(at_, start_), std::min(at_ + bytes_.size(), passed_)};
  }
  size_t at_, start_ = 0, passed_ = 0;
  std::span<Byte> bytes_;
};

}  // namespace sluice
