#pragma once
// Requests of /v1/chat/completions: messages, tools and what goes into the chat template.
//
// Tools are rendered into the prompt by the template. An answer in the harmony format (gpt-oss) is parted into reasoning,
// content and calls; of other models an answer that calls a tool comes back as plain content. tool_choice "none" leaves the tools out of the prompt; a choice that forces a
// call is refused.

#include <memory>

#include "serve/openai/api_request.h"

namespace sluice {

struct ChatRequest : GenerationFields {
  /// Each an object with role and content, a string (empty beside tool_calls that came without); arguments of tool
  /// calls are objects.
  std::shared_ptr<const Json> messages;
  std::shared_ptr<const Json> tools;            // an array; null: none
  std::shared_ptr<const Json> template_kwargs;  // an object
  bool add_generation_prompt = true;
  bool continue_final_message = false;  // the last message is the beginning of the answer
  bool add_special_tokens = false;      // templates write BOS themselves
};

Result<ChatRequest> parse_chat_request(const Json& body, const SamplingParams& defaults);
/// The fields that make the prompt, as /tokenize takes them.
Result<ChatRequest> parse_chat_prompt(const Json& body);

}  // namespace sluice
