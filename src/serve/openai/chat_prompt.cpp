#include "serve/openai/chat_prompt.h"

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

namespace sluice {

namespace {

constexpr char kSpace[] = " \t\n\r\v\f";

int64_t local_time_s() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  return static_cast<int64_t>(now) + parts.tm_gmtoff;
}

/// gpt-oss' template reads an assistant's reasoning as `thinking`, and beside a call takes either that or content; it
/// renders both alike, as analysis.
Json for_harmony(const Json& messages) {
  Json out = messages;
  for (Json& message : out) {
    if (message["role"] != "assistant" || message.contains("thinking")) continue;
    std::string thinking;
    for (const char* name : {"reasoning_content", "reasoning"})
      if (thinking.empty()) thinking = message.value(name, std::string());
    if (thinking.empty()) continue;
    if (Json& content = message["content"]; message.contains("tool_calls") && !content.get<std::string>().empty()) {
      thinking += "\n" + content.get<std::string>();
      content = "";
    }
    message["thinking"] = thinking;
  }
  return out;
}

}  // namespace

ChatPrompt::Known::Known(const ChatTemplate* chat_template)
    : chat_template(chat_template), traits(chat_template == nullptr ? ChatTemplateTraits() : chat_template->traits()) {}

ChatPrompt::ChatPrompt(const ChatTemplate* chat_template, const Tokenizer& tokenizer, const ChatTemplate* tool_template)
    : plain_(chat_template),
      with_tools_(tool_template != nullptr ? tool_template : chat_template),
      tokenizer_(tokenizer),
      harmony_(find_harmony_tokens(chat_template, tokenizer)) {}

std::vector<std::string> ChatPrompt::unread(const ChatRequest& request) const {
  const auto& [chat_template, traits] = known(request);
  std::vector<std::string> names;
  if (chat_template == nullptr) return names;
  for (const auto& [name, value] : request.template_kwargs->items()) {
    if (chat_template->names(name)) continue;
    const bool has_field = name == "documents" || name == "reasoning_effort";
    names.push_back((has_field ? name : "chat_template_kwargs." + name) + ":unread-by-the-template");
  }
  const auto calls = [](const Json& message) { return message.contains("tool_calls"); };
  if (request.tools != nullptr && harmony_ == nullptr) names.push_back("tools:calls-are-returned-as-content");
  if (!traits.shows_tool_calls && std::ranges::any_of(*request.messages, calls))
    names.push_back("messages.tool_calls:unread-by-the-template");
  return names;
}

Result<std::vector<TextSegment>> ChatPrompt::render(const ChatRequest& request) const {
  const auto& [chat_template, traits] = known(request);
  if (chat_template == nullptr)
    return unsupported("this model has no chat template; use /v1/completions, or start the server with --chat-template (a file, or a known name, such as chatml)",
                       "messages");
  if (request.tools != nullptr && !traits.uses_tools)
    return unsupported(
        "tools are given, but this model's chat template does not show them to the model; leave them out", "tools");
  const bool has_system = std::ranges::any_of(*request.messages, [](const Json& m) { return m["role"] == "system"; });
  if (has_system && !traits.accepts_system_role)
    return unsupported(
        "this model's chat template does not show system messages to the model; put the text into the first "
        "user message",
        "messages");
  const Json none;  // transformers passes tools and documents as none where there are none
  Json extra = *request.template_kwargs;
  if (!extra.contains("documents")) extra["documents"] = nullptr;
  const Json messages = harmony_ != nullptr ? for_harmony(*request.messages) : *request.messages;
  ChatInputs inputs;
  inputs.messages = &messages;
  inputs.tools = request.tools == nullptr ? &none : request.tools.get();
  inputs.extra = &extra;
  if (const auto bos = tokenizer_.bos()) inputs.bos_token = tokenizer_.token_bytes(*bos);
  if (const auto eos = tokenizer_.eos()) inputs.eos_token = tokenizer_.token_bytes(*eos);
  inputs.add_generation_prompt = request.add_generation_prompt;
  inputs.now_local_s = local_time_s();
  const Result<RenderedChat> rendered = chat_template->render(inputs);
  // Whatever the template could not do, it could not do with this conversation.
  if (!rendered.ok())
    return invalid_argument("the conversation does not fit the chat template: " + rendered.error().message, "messages");
  std::vector<TextSegment> segments;
  for (const RenderedChat::Segment& segment : rendered->segments) segments.push_back({segment.text, segment.trusted});
  if (request.continue_final_message) {
    const Json& content = request.messages->back()["content"];
    SLUICE_TRY_STATUS(
        cut_after_final_message(segments, content.is_string() ? content.get<std::string>() : std::string()));
  }
  return segments;
}

Result<std::vector<TokenId>> ChatPrompt::tokens(const ChatRequest& request) const {
  SLUICE_TRY(const std::vector<TextSegment> segments, render(request));
  return tokenizer_.encode_segments(segments, request.add_special_tokens);
}

Status cut_after_final_message(std::vector<TextSegment>& segments, const std::string& final_text) {
  constexpr char kField[] = "continue_final_message";
  const size_t first = final_text.find_first_not_of(kSpace);
  if (first == std::string::npos)
    return invalid_argument("continue_final_message is true, but the last message has no text to continue", kField);
  const std::string from_first = final_text.substr(first);
  const std::string trimmed = from_first.substr(0, from_first.find_last_not_of(kSpace) + 1);
  std::string whole;
  for (const TextSegment& segment : segments) whole += segment.text;
  const size_t at = whole.rfind(trimmed);
  if (at == std::string::npos)
    return invalid_argument(
        "continue_final_message is true, but the chat template does not show the last message as it is", kField);
  size_t left = at + (whole.compare(at, from_first.size(), from_first) == 0 ? from_first.size() : trimmed.size());
  for (size_t i = 0; i < segments.size(); ++i) {
    if (left > segments[i].text.size()) {
      left -= segments[i].text.size();
      continue;
    }
    segments[i].text.resize(left);
    segments.resize(i + 1);
    break;
  }
  return {};
}

}  // namespace sluice
