#pragma once
// A conversation to the tokens of its prompt: rendered by the model's template, with text of users never read as
// control tokens.

#include <memory>
#include <vector>

#include "serve/openai/chat_request.h"
#include "text/chat/chat_template.h"
#include "text/tokenizer/tokenizer.h"

namespace sluice {

class ChatPrompt {
 public:
  /// `chat_template` may be null: then every conversation is refused. Both outlive this object.
  ChatPrompt(const ChatTemplate* chat_template, const Tokenizer& tokenizer);

  /// Errors: invalid_argument with the field at fault; also where the template would drop tools or a system message.
  Result<std::vector<TextSegment>> render(const ChatRequest& request) const;
  Result<std::vector<TokenId>> tokens(const ChatRequest& request) const;

 private:
  const ChatTemplate* template_;
  const Tokenizer& tokenizer_;
  ChatTemplateTraits traits_;
};

/// Ends a rendered conversation right after `final_text`, the text of its last message, with its trailing whitespace
/// where the template kept it. The error is for a template that does not show the text.
Status cut_after_final_message(std::vector<TextSegment>& segments, const std::string& final_text);

}  // namespace sluice
