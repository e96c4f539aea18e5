#include "text/tokenizer/detokenizer.h"

#include "text/tokenizer/utf8.h"

namespace sluice {

Detokenizer::Detokenizer(const Tokenizer& tokenizer, DecodeOptions options)
    : tokenizer_(&tokenizer), options_(options) {}

std::string Detokenizer::push(TokenId id) {
  if (options_.skip_special && tokenizer_->is_special(id)) return {};
  held_ += tokenizer_->token_bytes(id);
  return emit(false);
}

std::string Detokenizer::finish() {
  std::string text = emit(true);
  at_start_ = true;
  return text;
}

std::string Detokenizer::emit(bool final) {
  std::string text;
  held_.erase(0, append_utf8_lossy(held_, final, text));
  if (at_start_ && !text.empty()) {
    at_start_ = false;
    if (options_.strip_leading_space && tokenizer_->strips_leading_space() && text[0] == ' ') text.erase(0, 1);
  }
  return text;
}

}  // namespace sluice
