// Damaged character maps.

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "text/tokenizer/normalizers/normalizer.h"

namespace sluice {
namespace {

// A map of one entry: the byte, which is replaced by what stands at `begin` of "é\0".
std::string map_of(uint8_t byte, uint32_t begin) {
  constexpr uint32_t kRoot = 0x100, kValue = 0x200;
  std::vector<uint32_t> units(0x400);
  units[0] = kRoot << 10;
  const uint32_t node = kRoot ^ byte;
  units[node] = byte | 1u << 8 | kValue << 10;
  units[node ^ kValue] = 1u << 31 | begin;
  const auto bytes = static_cast<uint32_t>(units.size() * 4);
  std::string blob(4 + bytes, '\0');
  std::memcpy(blob.data(), &bytes, 4);
  std::memcpy(blob.data() + 4, units.data(), bytes);
  return blob + std::string("\xc3\xa9\0", 3);
}

std::string mapped(const std::string& map, CharacterMapBy by, std::string text) {
  const auto step = character_map(map, by);
  EXPECT_TRUE(step.ok()) << step.error().message;
  (*step)(text, true);
  return text;
}

TEST(CharacterMap, WhatBeginsOrEndsInsideACharacterIsNoEntry) {
  for (const CharacterMapBy by : {CharacterMapBy::grapheme, CharacterMapBy::longest_match}) {
    EXPECT_EQ(mapped(map_of('a', 0), by, "bab"), "b\xc3\xa9" "b");
    EXPECT_EQ(mapped(map_of('a', 1), by, "bab"), "bab") << "the second byte of a character would have replaced it";
    EXPECT_EQ(mapped(map_of(0xc3, 0), by, "\xc3\xa9"), "\xc3\xa9") << "the first byte of a character would have been replaced";
  }
}

}  // namespace
}  // namespace sluice
