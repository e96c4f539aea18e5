#include "text/tokenizer/detokenizer.h"

#include "text/tokenizer/tokenizer_parts.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

Detokenizer::Detokenizer(const Tokenizer& tokenizer, DecodeOptions options)
    : tokenizer_(&tokenizer), options_(options) {}

std::string Detokenizer::push(TokenId id) {
  if (options_.skip_special && tokenizer_->is_special(id)) return {};
  const DecodeRules& rules = tokenizer_->decode_rules();
  if (rules.drops_repeats && id == last_) return {};
  last_ = id;
  std::string_view bytes = tokenizer_->token_bytes(id);
  if (first_ && options_.strip_leading_space && !rules.first.empty())
    if (const auto it = rules.first.find(id); it != rules.first.end()) bytes = it->second;
  first_ = false;
  held_ += tail_;
  tail_.clear();
  if (!rules.tail.empty()) {
    if (const auto it = rules.tail.find(id); it != rules.tail.end()) {
      const size_t kept = bytes.size() - std::min(it->second, bytes.size());
      tail_ = bytes.substr(kept);
      bytes = bytes.substr(0, kept);
    }
  }
  held_ += bytes;
  return emit(false);
}

std::string Detokenizer::finish() {
  std::string text = emit(true);
  *this = Detokenizer(*tokenizer_, options_);
  return text;
}

std::string Detokenizer::emit(bool final) {
  const DecodeRules& rules = tokenizer_->decode_rules();
  const std::string& dropped = rules.stripped;
  std::string text = std::move(end_);
  end_.clear();
  held_.erase(0, append_utf8_lossy(held_, final, text));
  if (at_start_ && options_.strip_leading_space)
    for (; stripped_ < rules.strip_first && text.starts_with(dropped); ++stripped_) text.erase(0, dropped.size());
  at_start_ = at_start_ && text.empty();
  for (size_t i = 0; i < rules.strip_last && text.ends_with(dropped); ++i) {
    end_ += dropped;
    text.erase(text.size() - dropped.size());
  }
  return text;
}

}  // namespace sluice
