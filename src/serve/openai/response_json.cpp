#include "serve/openai/response_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "text/tokenizer/utf8.h"

namespace sluice {

namespace {

constexpr float kLeastLogprob = -9999.0f;  // JSON has no -inf; vLLM's figure

double finite(float logprob) { return logprob > kLeastLogprob ? logprob : kLeastLogprob; }

Json chat_token_json(const Tokenizer& tokenizer, TokenId id, float logprob) {
  const std::string_view bytes = tokenizer.token_bytes(id);
  Json list = Json::array();
  for (const char c : bytes) list.push_back(static_cast<unsigned char>(c));
  return {{"token", to_valid_utf8(bytes)}, {"logprob", finite(logprob)}, {"bytes", std::move(list)}};
}

}  // namespace

Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}}};
}

Json completion_logprobs_json(const Tokenizer& tokenizer, std::span<const LogprobEntry> entries) {
  Json tokens = Json::array(), logprobs = Json::array(), top = Json::array(), offsets = Json::array();
  for (const LogprobEntry& entry : entries) {
    const SampledToken& sampled = entry.token;
    tokens.push_back(to_valid_utf8(tokenizer.token_bytes(sampled.token)));
    offsets.push_back(entry.text_offset);
    if (entry.unscored) {
      logprobs.push_back(nullptr);
      top.push_back(nullptr);
      continue;
    }
    logprobs.push_back(finite(sampled.logprob));
    // Several tokens may be spelled alike (parts of characters are): the likeliest stands for them.
    Json best = Json::object();
    best[tokens.back().get<std::string>()] = finite(sampled.logprob);
    for (const TokenLogprob& other : sampled.top) {
      Json& value = best[to_valid_utf8(tokenizer.token_bytes(other.token))];
      if (value.is_null() || value.get<double>() < finite(other.logprob)) value = finite(other.logprob);
    }
    top.push_back(std::move(best));
  }
  return {{"text_offset", std::move(offsets)},
          {"token_logprobs", std::move(logprobs)},
          {"tokens", std::move(tokens)},
          {"top_logprobs", std::move(top)}};
}

Json chat_logprobs_json(const Tokenizer& tokenizer, std::span<const LogprobEntry> entries) {
  Json content = Json::array();
  for (const LogprobEntry& entry : entries) {
    Json item = chat_token_json(tokenizer, entry.token.token, entry.token.logprob);
    Json top = Json::array();
    for (const TokenLogprob& other : entry.token.top)
      top.push_back(chat_token_json(tokenizer, other.token, other.logprob));
    item["top_logprobs"] = std::move(top);
    content.push_back(std::move(item));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

Json finish_json(const Choice& choice) {
  if (choice.called()) return "tool_calls";
  return choice.ended() ? Json(finish_reason_name(choice.finish())) : Json();
}

Json stop_reason_json(const Choice& choice) {
  if (const std::string* text = choice.stop_string()) return *text;
  if (const auto token = choice.stop_token()) return *token;
  return nullptr;
}

Json answer_json(const AnswerHead& head, bool chunk) {
  const char* object = head.kind == ApiKind::completion ? "text_completion"
                       : chunk                          ? "chat.completion.chunk"
                                                        : "chat.completion";
  return {{"id", head.id},
          {"object", object},
          {"created", head.created},
          {"model", head.model},
          {"choices", Json::array()}};
}

Json choice_json(ApiKind kind, int index, std::string text, Json logprobs, const Choice& choice) {
  Json json{{"index", index}};
  if (kind == ApiKind::completion)
    json["text"] = std::move(text);
  else
    json["message"] = {{"role", "assistant"}, {"content", std::move(text)}, {"refusal", nullptr}};
  json["logprobs"] = std::move(logprobs);
  json["finish_reason"] = finish_json(choice);
  json["stop_reason"] = stop_reason_json(choice);
  return json;
}

Json chunk_choice_json(ApiKind kind, int index, std::string text, Json logprobs) {
  Json json{{"index", index}};
  if (kind == ApiKind::completion)
    json["text"] = std::move(text);
  else
    json["delta"] = {{"content", std::move(text)}};
  json["logprobs"] = std::move(logprobs);
  json["finish_reason"] = nullptr;
  return json;
}

Json role_choice_json(int index) {
  return {{"index", index},
          {"delta", {{"role", "assistant"}, {"content", ""}}},
          {"logprobs", nullptr},
          {"finish_reason", nullptr}};
}

Json final_choice_json(ApiKind kind, int index, Json logprobs, const Choice& choice) {
  Json json = chunk_choice_json(kind, index, "", std::move(logprobs));
  if (kind == ApiKind::chat) json["delta"] = Json::object();
  json["finish_reason"] = finish_json(choice);
  json["stop_reason"] = stop_reason_json(choice);
  return json;
}

Json delta_choice_json(int index, Json delta, Json logprobs) {
  return {{"index", index},
          {"delta", std::move(delta)},
          {"logprobs", std::move(logprobs)},
          {"finish_reason", nullptr}};
}

Json call_piece_json(const HarmonyReply::CallPiece& piece, const std::string& id) {
  Json json = {{"index", piece.index}};
  if (!piece.name.empty()) {
    json["id"] = id;
    json["type"] = "function";
    json["function"]["name"] = piece.name;
  }
  json["function"]["arguments"] = piece.arguments;
  return json;
}

void add_reply_parts(Json& message, std::string reasoning, const std::vector<HarmonyReply::CallPiece>& pieces,
                     const std::string& id_prefix) {
  if (!reasoning.empty()) message["reasoning_content"] = std::move(reasoning);
  if (pieces.empty()) return;
  Json calls = Json::array();
  for (const HarmonyReply::CallPiece& piece : pieces) {
    if (static_cast<size_t>(piece.index) == calls.size())
      calls.push_back({{"id", id_prefix + std::to_string(piece.index)},
                       {"type", "function"},
                       {"function", {{"name", piece.name}, {"arguments", ""}}}});
    std::string& arguments =
        calls[static_cast<size_t>(piece.index)]["function"]["arguments"].get_ref<std::string&>();
    arguments += piece.arguments;
  }
  message["tool_calls"] = std::move(calls);
  if (message["content"].get_ref<const std::string&>().empty()) message["content"] = nullptr;
}

std::string sse_event(const Json& value) { return "data: " + dump_json(value) + "\n\n"; }

}  // namespace sluice
