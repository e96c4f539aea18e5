#pragma once
// Pieces that a thread has encoded before, with their tokens: text repeats itself, and looking a word up costs a tenth of
// merging it. Only a short cut: what it gives is what the model gave.

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/tokenizer/models/token_model.h"

namespace sluice {

class PieceCache {
 public:
  /// This thread's, for the model of the tokenizer with this serial number.
  static PieceCache& of_this_thread(uint64_t serial, const TokenModel& model);
  /// A number for a tokenizer, which no other gets.
  static uint64_t next_serial();

  /// As the model does.
  void encode(std::string_view piece, std::vector<TokenId>& out);

 private:
  static constexpr size_t kEntries = 1 << 14;
  static constexpr size_t kMaxBytes = 24, kMaxTokens = 7;
  struct alignas(64) Entry {  // one cache line
    uint64_t serial = 0;
    std::array<uint64_t, kMaxBytes / 8> text{};  // padded with zeros
    uint8_t bytes = 0, tokens = 0;
    std::array<TokenId, kMaxTokens> ids{};
  };
  static_assert(sizeof(Entry) == 64);

  uint64_t serial_ = 0;
  const TokenModel* model_ = nullptr;
  std::vector<Entry> entries_ = std::vector<Entry>(kEntries);
};

}  // namespace sluice
