#pragma once
// Tokens to text as they come. What it emits are whole characters; together they are the one-shot decode.

#include <string>

#include "text/tokenizer/tokenizer.h"

namespace sluice {

class Detokenizer {
 public:
  /// The tokenizer must outlive it.
  explicit Detokenizer(const Tokenizer& tokenizer, DecodeOptions options = {});
  /// The text that this token completes, perhaps none. Bytes that may yet become a character are held back (at most 3), and what is dropped at the end of a text.
  std::string push(TokenId id);
  /// What is still held back, as U+FFFD. The next push starts a new text.
  std::string finish();

 private:
  std::string emit(bool final);
  const Tokenizer* tokenizer_;
  DecodeOptions options_;
  std::string held_;          // bytes that are no whole character yet
  std::string tail_;          // of the last token: dropped unless another follows
  std::string end_;           // characters that are dropped if they are the last
  TokenId last_ = -1;
  bool first_ = true;         // no token yet
  size_t stripped_ = 0;       // characters dropped at the start
  bool at_start_ = true;      // no text yet
};

}  // namespace sluice
