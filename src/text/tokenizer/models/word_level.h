#pragma once
// WordLevel: a piece is a token as a whole, or unknown.

#include <optional>

#include "text/tokenizer/models/piece_table.h"
#include "text/tokenizer/models/token_model.h"

namespace sluice {

class WordLevelModel final : public TokenModel {
 public:
  WordLevelModel(PieceTable words, std::optional<TokenId> unknown) : words_(std::move(words)), unknown_(unknown) {}
  void encode(std::string_view piece, std::vector<TokenId>& out) const override;
  std::optional<TokenId> find(std::string_view text) const override { return words_.find(text); }
  std::optional<size_t> longest_token_bytes() const override { return std::nullopt; }

 private:
  PieceTable words_;
  std::optional<TokenId> unknown_;
};

}  // namespace sluice
