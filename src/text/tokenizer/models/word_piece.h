#pragma once
// WordPiece (Schuster and Nakajima 2012; the encoder of BERT): from the left the longest piece that fits, pieces inside
// a word spelled with a prefix; a word that does not come out even is unknown as a whole.

#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer/models/byte_trie.h"
#include "text/tokenizer/models/token_model.h"

namespace sluice {

struct WordPieceSpec {
  std::vector<std::pair<std::string, TokenId>> pieces;  // as spelled, with the prefix
  std::string prefix = "##";                            // of pieces that continue a word
  TokenId unknown = -1;
  size_t longest_word = 100;  // characters; a longer word is unknown
};

class WordPieceModel final : public TokenModel {
 public:
  explicit WordPieceModel(WordPieceSpec spec);
  void encode(std::string_view word, std::vector<TokenId>& out) const override;
  std::optional<TokenId> find(std::string_view text) const override;
  std::optional<size_t> longest_token_bytes() const override { return std::nullopt; }

 private:
  ByteTrie trie_;
  ByteTrie::Node inside_ = ByteTrie::kRoot;  // where the prefix leads to; kNone: no piece has it
  TokenId unknown_;
  size_t longest_word_;
};

}  // namespace sluice
