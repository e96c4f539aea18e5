#pragma once
// One sample of a request on its way from tokens to text: detokenizes, parts harmony's channels, looks for stop strings
// in the content, keeps logprobs, and says when and why it ended.

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sched/request.h"
#include "serve/openai/harmony_tokens.h"
#include "serve/openai/stop_matcher.h"
#include "text/tokenizer/detokenizer.h"

namespace sluice {

struct ChoiceOptions {
  std::shared_ptr<const StopStrings> stop;
  std::vector<TokenId> stop_token_ids;
  bool include_stop_in_output = false;
  bool skip_special_tokens = true;
  bool at_text_start = false;  // the prompt has no text, so that a leading space is the tokenizer's own
  int min_tokens = 0;          // stop strings count only after that many
  bool logprobs = false;
  std::shared_ptr<const HarmonyTokens> harmony;  // null: all text is content
  HarmonyReply::Begins harmony_begins = HarmonyReply::Begins::in_header;
};

struct LogprobEntry {
  SampledToken token;
  size_t text_offset = 0;  // where its text begins, in code points of the answer
  bool unscored = false;   // the first token of a prompt: nothing predicts it
};

class Choice {
 public:
  /// `first_offset`: code points that stand before the first token, as with an echoed prompt. The tokenizer outlives
  /// it.
  Choice(const Tokenizer& tokenizer, ChoiceOptions options, size_t first_offset = 0);

  /// `finish` comes with the last tokens, or alone. Nothing has an effect once the choice has ended.
  void take(std::span<const SampledToken> tokens, FinishReason finish);
  /// A stop string was found: the engine need not go on.
  bool stopped_by_text() const { return matcher_.matched().has_value(); }
  bool ended() const { return finish_ != FinishReason::none; }
  FinishReason finish() const { return finish_; }
  /// What stopped it, where that was the client's: a string or a token id.
  const std::string* stop_string() const;
  std::optional<TokenId> stop_token() const { return stop_token_; }
  int tokens() const { return tokens_; }

  /// What has become certain since the last call.
  std::string take_text() { return std::exchange(text_, {}); }
  std::string take_reasoning() { return reply_ ? reply_->take_reasoning() : std::string(); }
  std::vector<HarmonyReply::CallPiece> take_calls() {
    return reply_ ? reply_->take_calls() : std::vector<HarmonyReply::CallPiece>();
  }
  /// It called a tool, and ended by itself.
  bool called() const { return reply_ && reply_->calls() > 0 && finish_ == FinishReason::stop && !stopped_by_text(); }
  std::vector<LogprobEntry> take_logprobs() { return std::exchange(entries_, {}); }

 private:
  void add_token(TokenId token);
  void add_text(const std::string& text);

  ChoiceOptions options_;
  Detokenizer detokenizer_;
  StopMatcher matcher_;
  std::optional<HarmonyReply> reply_;
  std::string text_;
  std::vector<LogprobEntry> entries_;
  size_t offset_;
  int tokens_ = 0;
  FinishReason finish_ = FinishReason::none;
  std::optional<TokenId> stop_token_;
};

/// Code points of valid UTF-8.
size_t count_code_points(std::string_view text);

}  // namespace sluice
