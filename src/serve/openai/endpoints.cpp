#include "serve/openai/endpoints.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>

#include "serve/openai/api_request.h"
#include "serve/openai/chat_request.h"
#include "serve/openai/field_reader.h"

namespace sluice {

uint64_t random_u64() {
  static thread_local std::random_device device;
  return uint64_t{device()} << 32 | device();
}

HttpResponse json_response(const Json& json) { return {200, {{"Content-Type", "application/json"}}, dump_json(json)}; }

std::string random_id() { return fmt::format("{:016x}{:016x}", random_u64(), random_u64()); }

Endpoints::Endpoints(ModelIdentity identity)
    : identity_(std::move(identity)), chat_prompt_(identity_.chat_template, identity_.tokenizer, identity_.tool_template) {}

void Endpoints::refuse(const Exchange& exchange) const {
  exchange.respond(ApiError(unsupported(fmt::format("{} is not answered here: {} {}", exchange.request.path, name(), purpose()))).response());
}

Endpoints::Refusal Endpoints::check_model(const std::string& name) const {
  if (name.empty() || std::ranges::find(identity_.served_names, name) != identity_.served_names.end())
    return std::nullopt;
  std::string served;
  for (const std::string& each : identity_.served_names) served += (served.empty() ? "" : ", ") + each;
  return ApiError(ErrorCode::not_found,
                  fmt::format("the model {} does not exist here; served: {}", describe_json(Json(name)), served),
                  "model_not_found", "model");
}

Endpoints::Refusal Endpoints::check_bytes(size_t bytes, const char* param) const {
  const auto longest = tokenizer().longest_token_bytes();
  if (!longest || bytes <= *longest * static_cast<size_t>(context_tokens())) return std::nullopt;
  return ApiError(
      ErrorCode::invalid_argument,
      fmt::format("the prompt has {} bytes, but the {} tokens of this model's context stand for {} bytes at "
                  "most",
                  bytes, context_tokens(), *longest * static_cast<size_t>(context_tokens())),
      kTooLong, param);
}

HttpResponse Endpoints::tokenize(const HttpRequest& http) const {
  const Result<Json> body = parse_json_object(http.body);
  if (!body.ok()) return ApiError(body.error()).response();
  FieldReader in(*body);
  std::string model, prompt;
  bool with_strings = false;
  in.string("model", model);
  in.boolean("return_token_strs", with_strings);
  std::vector<TokenId> tokens;
  std::vector<std::string> unknown;
  if (body->contains("messages")) {
    const Result<ChatRequest> parsed = parse_chat_prompt(*body);
    if (!parsed.ok()) return ApiError(parsed.error()).response();
    unknown = parsed->warnings;
    std::ranges::move(chat_prompt_.unread(*parsed), std::back_inserter(unknown));
    Result<std::vector<TokenId>> made = chat_prompt_.tokens(*parsed);
    if (!made.ok()) return ApiError(made.error()).response();
    tokens = std::move(*made);
  } else {
    bool add_special = true, parse_special = false;
    in.boolean("add_special_tokens", add_special);
    in.boolean("parse_special", parse_special);
    if (!in.string("prompt", prompt) && !in.failed())
      in.fail(invalid_argument("prompt is missing; it must be a string (or give messages)", "prompt"));
    if (!in.failed()) tokens = tokenizer().encode(prompt, {add_special, parse_special});
    unknown = in.unknown();
  }
  if (in.failed()) return ApiError(in.error()).response();
  if (const Refusal refusal = check_model(model)) return refusal->response();
  Json strings;
  if (with_strings) {
    strings = Json::array();
    for (const TokenId id : tokens) strings.push_back(std::string(tokenizer().token_bytes(id)));
  }
  HttpResponse response = json_response({{"count", tokens.size()},
                                         {"max_model_len", context_tokens()},
                                         {"tokens", tokens},
                                         {"token_strs", std::move(strings)}});
  if (!unknown.empty()) response.headers.emplace_back("X-Sluice-Warnings", warning_text(unknown));
  return response;
}

HttpResponse Endpoints::detokenize(const HttpRequest& http) const {
  const Result<Json> body = parse_json_object(http.body);
  if (!body.ok()) return ApiError(body.error()).response();
  FieldReader in(*body);
  std::string model;
  std::vector<TokenId> tokens;
  in.string("model", model);
  if (!in.integers("tokens", tokens, 0, tokenizer().vocab_size() - 1) && !in.failed())
    in.fail(invalid_argument("tokens is missing; it must be an array of token ids", "tokens"));
  if (in.failed()) return ApiError(in.error()).response();
  if (const Refusal refusal = check_model(model)) return refusal->response();
  HttpResponse response = json_response({{"prompt", tokenizer().decode(tokens, {.skip_special = false})}});
  if (const auto unknown = in.unknown(); !unknown.empty())
    response.headers.emplace_back("X-Sluice-Warnings", warning_text(unknown));
  return response;
}

Json Endpoints::model_json(const std::string& name) const {
  // As llama.cpp's server says it; a prompt may hold the ids below it.
  const int64_t known = model_vocab(), spelled = tokenizer().vocab_size();
  const int64_t vocab_size = known > 0 ? std::min(known, spelled) : spelled;
  return {{"id", name},
          {"object", "model"},
          {"created", identity_.created},
          {"owned_by", "sluice"},
          {"root", identity_.root},
          {"parent", nullptr},
          {"max_model_len", context_tokens()},
          {"meta", {{"n_vocab", vocab_size}}}};
}

HttpResponse Endpoints::models() const {
  Json data = Json::array();
  for (const std::string& name : identity_.served_names) data.push_back(model_json(name));
  return json_response({{"object", "list"}, {"data", std::move(data)}});
}

HttpResponse Endpoints::model(const std::string& name) const {
  if (const Refusal refusal = check_model(name)) return refusal->response();
  return json_response(model_json(name));
}

}  // namespace sluice
