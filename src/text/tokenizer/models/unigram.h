#pragma once
// Unigram language model (Kudo 2018): every piece has a log-probability, and the text becomes the pieces whose sum is
// largest (Viterbi). The model of T5, XLM-RoBERTa, ALBERT.

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer/models/byte_trie.h"
#include "text/tokenizer/models/token_model.h"

namespace sluice {

struct UnigramSpec {
  struct Piece {
    std::string text;
    double score = 0;  // not NaN
    TokenId id = -1;
  };
  std::vector<Piece> pieces;  // of two equal texts the last counts
  double least_score = 0;     // of all pieces of the vocabulary; an unknown character has 10 less
  std::optional<TokenId> unknown;
  bool in_float = false;  // sums are rounded to float, as the sentencepiece library has them
  std::optional<std::array<TokenId, 256>> bytes;  // a run of unknown characters is spelled in these
};

/// A score as the package `tokenizers` reads it: its digits as one integer over a power of ten, each rounded. The last bit may
/// differ from the nearest number, which decides between segmentations that are equally likely.
double score_as_read(double score);

class UnigramModel final : public TokenModel {
 public:
  explicit UnigramModel(UnigramSpec spec);
  /// O(n times the longest piece).
  void encode(std::string_view piece, std::vector<TokenId>& out) const override;
  std::optional<TokenId> find(std::string_view text) const override;
  std::optional<size_t> longest_token_bytes() const override;

 private:
  ByteTrie trie_;                // to places in ids_ and scores_
  std::vector<TokenId> ids_;
  std::vector<double> scores_;
  double unknown_score_ = 0;
  bool in_float_ = false;
  std::optional<TokenId> unknown_;
  std::optional<std::array<TokenId, 256>> bytes_;
};

}  // namespace sluice
