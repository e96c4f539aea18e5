#pragma once
// A conversation to the tokens of its prompt: rendered by the model's template, with text of users never read as
// control tokens.

#include <memory>
#include <vector>

#include "serve/openai/chat_request.h"
#include "serve/openai/harmony_tokens.h"
#include "text/chat/chat_template.h"
#include "text/tokenizer/tokenizer.h"

namespace sluice {

class ChatPrompt {
 public:
  /// `chat_template` may be null: then every conversation is refused. `tool_template` takes its place where tools are
  /// given, as transformers chooses; null: it does not. All outlive this object.
  ChatPrompt(const ChatTemplate* chat_template, const Tokenizer& tokenizer,
             const ChatTemplate* tool_template = nullptr);

  /// Errors: invalid_argument with the field at fault; also where the template would drop tools or a system message.
  Result<std::vector<TextSegment>> render(const ChatRequest& request) const;
  Result<std::vector<TokenId>> tokens(const ChatRequest& request) const;
  /// What the request gives and its template does not read, as X-Sluice-Warnings names it.
  std::vector<std::string> unread(const ChatRequest& request) const;
  /// Of a model whose replies are in the harmony format; else null.
  const std::shared_ptr<const HarmonyTokens>& harmony() const { return harmony_; }

 private:
  struct Known {
    explicit Known(const ChatTemplate* chat_template);
    const ChatTemplate* chat_template;
    ChatTemplateTraits traits;
  };
  const Known& known(const ChatRequest& request) const { return request.tools == nullptr ? plain_ : with_tools_; }

  const Known plain_, with_tools_;
  const Tokenizer& tokenizer_;
  const std::shared_ptr<const HarmonyTokens> harmony_;
};

/// Ends a rendered conversation right after `final_text`, the text of its last message, with its trailing whitespace
/// where the template kept it. The error is for a template that does not show the text.
Status cut_after_final_message(std::vector<TextSegment>& segments, const std::string& final_text);

}  // namespace sluice
