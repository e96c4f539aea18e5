#pragma once
// PLaMo 2's tokenizer (Preferred Networks, tokenization_plamo.py): every piece has a score, and the text becomes the pieces
// whose sum is largest, as in a Unigram model. What differs: scores are whole numbers of 1/10,000, the best sum is sought from
// the end of the text, the longest of equally good first pieces wins, and a character in no piece is spelled in bytes.

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer/models/byte_trie.h"
#include "text/tokenizer/models/token_model.h"

namespace sluice {

struct PlamoSpec {
  struct Piece {
    std::string text;
    float score = 0;
    TokenId id = -1;
  };
  std::vector<Piece> pieces;  // of two equal texts the last counts; one with a score of -2,000 or less, or none, is never used
  std::array<TokenId, 256> bytes{};
};

class PlamoModel final : public TokenModel {
 public:
  explicit PlamoModel(PlamoSpec spec);
  /// O(n times the longest piece).
  void encode(std::string_view piece, std::vector<TokenId>& out) const override;
  std::optional<TokenId> find(std::string_view text) const override;
  std::optional<size_t> longest_token_bytes() const override;

 private:
  ByteTrie trie_;  // to places in ids_ and costs_
  std::vector<TokenId> ids_;
  std::vector<int32_t> costs_;  // in 1/10,000; the least sum wins
  std::array<TokenId, 256> bytes_;
};

}  // namespace sluice
