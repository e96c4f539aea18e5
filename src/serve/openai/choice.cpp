#include "serve/openai/choice.h"

#include <algorithm>

namespace sluice {

size_t count_code_points(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

Choice::Choice(const Tokenizer& tokenizer, ChoiceOptions options, size_t first_offset)
    : options_(std::move(options)),
      detokenizer_(tokenizer, {options_.skip_special_tokens, options_.at_text_start}),
      matcher_(options_.stop),
      offset_(first_offset) {
  if (options_.harmony != nullptr) reply_.emplace(options_.harmony_begins);
}

void Choice::add_token(TokenId token) {
  if (!reply_) return add_text(detokenizer_.push(token));
  if (const auto mark = options_.harmony->find(token); mark != options_.harmony->end()) {
    reply_->text(detokenizer_.finish());  // no character spans two messages
    reply_->mark(mark->second);
  } else {
    reply_->text(detokenizer_.push(token));
  }
  add_text(reply_->take_content());
}

void Choice::add_text(const std::string& text) {
  offset_ += count_code_points(text);
  // Up to min_tokens no stop string counts, nor the beginning of one.
  text_ += tokens_ <= options_.min_tokens && options_.min_tokens > 0
               ? text
               : matcher_.push(text, options_.include_stop_in_output);
}

void Choice::take(std::span<const SampledToken> tokens, FinishReason finish) {
  for (size_t i = 0; i < tokens.size() && !ended(); ++i) {
    ++tokens_;
    if (options_.logprobs) entries_.push_back({tokens[i], offset_, false});
    const bool ends_it = i + 1 == tokens.size() && finish == FinishReason::stop;
    if (ends_it && std::ranges::find(options_.stop_token_ids, tokens[i].token) != options_.stop_token_ids.end())
      stop_token_ = tokens[i].token;
    // The token that ends the answer is no part of it, unless asked for.
    if (!ends_it || options_.include_stop_in_output) add_token(tokens[i].token);
    if (matcher_.matched()) finish_ = FinishReason::stop;
  }
  if (ended() || finish == FinishReason::none) return;
  std::string rest = detokenizer_.finish();
  if (reply_) {
    reply_->text(rest);
    reply_->finish();
    rest = reply_->take_content();
  }
  add_text(rest);
  text_ += matcher_.finish();
  finish_ = matcher_.matched() ? FinishReason::stop : finish;
}

const std::string* Choice::stop_string() const {
  return matcher_.matched() ? &matcher_.strings().text(*matcher_.matched()) : nullptr;
}

}  // namespace sluice
