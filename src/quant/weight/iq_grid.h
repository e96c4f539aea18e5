#pragma once
// What ggml's IQ1, IQ2 and IQ3 types share: grids of points of small values, and signs.

#include <array>
#include <cstdint>
#include <cstring>

namespace sluice {

constexpr uint64_t kEachByte = 0x0101010101010101;

/// The points of a grid as bytes of a word, the first value lowest; `digits` as in iq_grids.inc.
template <class Word, int kPoints>
constexpr std::array<Word, kPoints> grid_of(const char* digits, const uint8_t* values, bool pairs) {
  std::array<Word, kPoints> grid{};
  for (Word& point : grid)
    for (size_t i = 0; i < sizeof(Word); ++i) {
      const char c = digits[0];
      const int digit = c <= '9' ? c - '0' : c - 'a' + 10;
      const int place = !pairs ? digit : i % 2 == 0 ? digit & 3 : digit >> 2;
      if (!pairs || i % 2 == 1) ++digits;
      point |= static_cast<Word>(Word{values[place]} << (8 * i));
    }
  return grid;
}

/// For each byte of sign bits: all ones in the bytes of negative values.
inline constexpr auto kSignMasks = [] {
  std::array<uint64_t, 256> masks{};
  for (uint64_t bits = 0; bits < 256; ++bits)
    for (int i = 0; i < 8; ++i)
      if ((bits >> i & 1) != 0) masks[bits] |= uint64_t{0xff} << (8 * i);
  return masks;
}();

/// Seven sign bits and the eighth that makes their number even.
inline constexpr auto kEvenSigns = [] {
  std::array<uint8_t, 128> signs{};
  for (unsigned bits = 0; bits < 128; ++bits) {
    unsigned parity = 0;
    for (int i = 0; i < 7; ++i) parity ^= bits >> i & 1;
    signs[bits] = static_cast<uint8_t>(bits | parity << 7);
  }
  return signs;
}();

/// Eight values of 0 to 127 under their signs.
inline void put_signed(uint64_t values, uint8_t signs, int8_t* codes) {
  const uint64_t negative = kSignMasks[signs];
  // Around 128 no byte borrows from its neighbour.
  const uint64_t bytes = (0x80 * kEachByte + (values & ~negative) - (values & negative)) ^ (0x80 * kEachByte);
  std::memcpy(codes, &bytes, 8);
}

inline uint32_t load_u32(const uint8_t* at) {
  uint32_t v;
  std::memcpy(&v, at, 4);
  return v;
}

}  // namespace sluice
