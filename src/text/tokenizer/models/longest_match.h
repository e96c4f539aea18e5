#pragma once
// The longest token that fits, from the left, over bytes: the tokenizer of RWKV World.

#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer/models/byte_trie.h"
#include "text/tokenizer/models/token_model.h"

namespace sluice {

class LongestMatchModel final : public TokenModel {
 public:
  /// `tokens` as bytes; a byte that starts no token becomes `unknown`, or is left out.
  LongestMatchModel(const std::vector<std::pair<std::string, TokenId>>& tokens, std::optional<TokenId> unknown);
  void encode(std::string_view piece, std::vector<TokenId>& out) const override;
  std::optional<TokenId> find(std::string_view text) const override;
  std::optional<size_t> longest_token_bytes() const override;

 private:
  ByteTrie trie_;
  std::optional<TokenId> unknown_;
  bool has_all_bytes_ = true;
};

}  // namespace sluice
