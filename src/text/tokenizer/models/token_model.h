#pragma once
// The algorithm that turns a piece of text into tokens.

#include <optional>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace sluice {

struct TokenModel {
  virtual ~TokenModel() = default;
  /// Appends the tokens of `piece`, which is not empty and valid UTF-8. Safe to call from many threads.
  virtual void encode(std::string_view piece, std::vector<TokenId>& out) const = 0;
  /// The token spelled exactly so (bytes of a byte-level vocabulary; spaces as U+2581 in a sentencepiece one).
  virtual std::optional<TokenId> find(std::string_view text) const = 0;
  /// The most bytes of a piece that one token stands for; nothing where text can be left out or become unknown tokens.
  virtual std::optional<size_t> longest_token_bytes() const = 0;
};

}  // namespace sluice
