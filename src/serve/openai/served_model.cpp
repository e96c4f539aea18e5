#include "serve/openai/served_model.h"

#include <xxhash.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

namespace sluice {

namespace {

constexpr int kDefaultCompletionTokens = 16;  // OpenAI's

/// Where each token's text begins, in code points; the first `added` have none.
std::vector<size_t> text_offsets(const Tokenizer& tokenizer, std::span<const TokenId> ids, size_t added,
                                 DecodeOptions options) {
  Detokenizer detokenizer(tokenizer, options);
  std::vector<size_t> offsets;
  size_t offset = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    offsets.push_back(offset);
    if (i >= added) offset += count_code_points(detokenizer.push(ids[i]));
  }
  return offsets;
}

}  // namespace

ServedModel::ServedModel(ApiContext context, std::chrono::nanoseconds request_timeout, std::shared_ptr<Worker> output)
    : Endpoints({context.tokenizer, context.clock, context.served_names, context.root, context.created, context.chat_template, context.tool_template}),
      context_(std::move(context)),
      request_timeout_(request_timeout),
      output_(std::move(output)),
      metrics_(std::make_shared<ServerMetrics>(context_.served_names.at(0), context_.engine)) {
  context_.engine.observe(metrics_.get());
}

// --- generating -----------------------------------------------------------------------------------------------------

void ServedModel::completions(const Exchange& exchange) { answer(exchange, &ServedModel::complete); }

void ServedModel::chat_completions(const Exchange& exchange) { answer(exchange, &ServedModel::chat); }

void ServedModel::answer(const Exchange& exchange, Refusal (ServedModel::*generate)(const Exchange&)) {
  const bool late = request_timeout_.count() > 0 && context_.clock.now() - exchange.arrival > request_timeout_.count();
  if (const Refusal refusal = late ? too_late() : (this->*generate)(exchange)) exchange.respond(refusal->response());
}

ApiError ServedModel::too_late() const {
  return {ErrorCode::deadline_exceeded,
          fmt::format("the request took longer than {:g} s (--request-timeout)", request_timeout_.count() * 1e-9),
          "request_timeout"};
}

ServedModel::Refusal ServedModel::complete(const Exchange& exchange) {
  const Result<Json> body = parse_json(exchange.request.body);
  if (!body.ok()) return ApiError(body.error());
  Result<CompletionRequest> parsed = parse_completion_request(*body, context_.default_sampling);
  if (!parsed.ok()) return ApiError(parsed.error());
  if (Refusal refusal = check_model(parsed->model)) return refusal;
  // Before the work of tokenizing: each prompt is one request of the queue.
  if (parsed->prompts.size() > static_cast<size_t>(context_.engine.config().max_waiting))
    return ApiError(invalid_argument(fmt::format("prompt holds {} prompts; at most {} fit the queue (--max-waiting)",
                                                 parsed->prompts.size(), context_.engine.config().max_waiting),
                                     "prompt"));
  if (const int most = context_.engine.config().limits.max_waiting_per_client;
      most > 0 && parsed->prompts.size() > static_cast<size_t>(most))
    return ApiError(invalid_argument(fmt::format("prompt holds {} prompts; at most {} requests of one client may wait "
                                                 "(--max-waiting-per-client), so send fewer at a time",
                                                 parsed->prompts.size(), most),
                                     "prompt"));
  const Tokenizer& tokenizer = context_.tokenizer;
  const std::vector<TokenId> no_text = tokenizer.encode("", {parsed->add_special_tokens, false});
  const bool add_special = parsed->add_special_tokens && !parsed->prompt_cache;  // what is before the text brings them
  Tokenized input;
  for (const Prompt& prompt : parsed->prompts) {
    const auto* text = std::get_if<std::string>(&prompt);
    if (text != nullptr) {
      if (Refusal refusal = check_bytes(text->size(), input.param)) return refusal;
      input.prompts.push_back(tokenizer.encode(*text, {add_special, parsed->parse_special}));
    } else {
      input.prompts.push_back(std::get<std::vector<TokenId>>(prompt));
    }
    if (!parsed->echo) continue;
    const std::span<const TokenId> ids = input.prompts.back();
    const DecodeOptions options{.skip_special = text == nullptr && parsed->skip_special_tokens};
    input.echo.push_back(text != nullptr ? *text : tokenizer.decode(ids, options));
    // What the tokenizer put before the text (BOS) is no part of it.
    const auto added = text == nullptr ? ids.begin() : std::ranges::mismatch(ids, no_text).in1;
    if (parsed->prompt_logprobs >= 0)
      input.offsets.push_back(text_offsets(tokenizer, ids, static_cast<size_t>(added - ids.begin()), options));
  }
  if (Refusal refusal = assemble(*parsed, input)) return refusal;
  return generate(ApiKind::completion, *parsed, std::move(input), exchange);
}

ServedModel::Refusal ServedModel::chat(const Exchange& exchange) {
  const Result<Json> body = parse_json(exchange.request.body);
  if (!body.ok()) return ApiError(body.error());
  Result<ChatRequest> parsed = parse_chat_request(*body, context_.default_sampling);
  if (!parsed.ok()) return ApiError(parsed.error());
  if (Refusal refusal = check_model(parsed->model)) return refusal;
  std::ranges::move(chat_prompt().unread(*parsed), std::back_inserter(parsed->warnings));
  const Result<std::vector<TextSegment>> rendered = chat_prompt().render(*parsed);
  if (!rendered.ok()) return ApiError(rendered.error());
  Tokenized input;
  input.param = "messages";
  if (parsed->skip_special_tokens) input.harmony = chat_prompt().harmony();  // with them, the reply as the model wrote it
  if (parsed->continue_final_message) input.harmony_begins = HarmonyReply::Begins::in_final;
  size_t bytes = 0;
  for (const TextSegment& segment : *rendered) bytes += segment.text.size();
  if (Refusal refusal = check_bytes(bytes, input.param)) return refusal;
  input.prompts.push_back(context_.tokenizer.encode_segments(*rendered, parsed->add_special_tokens));
  if (Refusal refusal = assemble(*parsed, input)) return refusal;
  return generate(ApiKind::chat, *parsed, std::move(input), exchange);
}

ServedModel::Refusal ServedModel::assemble(const GenerationFields& fields, Tokenized& input) const {
  if (!fields.prompt_cache) return std::nullopt;
  size_t bytes = fields.prompt_cache->preamble.size();
  for (const std::string& chunk : fields.prompt_cache->chunks) bytes += chunk.size();
  if (Refusal refusal = check_bytes(bytes, "prompt_cache.chunks")) return refusal;
  for (std::vector<TokenId>& prompt : input.prompts) {
    Result<ModularPrompt> whole = context_.modular.assemble(*fields.prompt_cache, std::move(prompt), context_.tokenizer);
    if (!whole.ok()) return ApiError(whole.error());
    prompt = std::move(whole->tokens);
    input.reuse.push_back(std::move(whole->reuse));
  }
  return std::nullopt;
}

int ServedModel::max_tokens(ApiKind kind, const GenerationFields& fields, size_t prompt_tokens) const {
  if (fields.max_tokens) return *fields.max_tokens;
  const int rest = context_tokens() - static_cast<int>(prompt_tokens);
  if (context_.default_max_tokens) return std::min(rest, *context_.default_max_tokens);
  return kind == ApiKind::chat ? rest : std::min(rest, kDefaultCompletionTokens);
}

ServedModel::Refusal ServedModel::check_limits(ApiKind kind, const GenerationFields& fields,
                                               const Tokenized& input) const {
  const int64_t context = context_tokens();
  for (const std::vector<TokenId>& prompt : input.prompts) {
    const int64_t size = static_cast<int64_t>(prompt.size());
    if (size >= context)
      return ApiError(
          ErrorCode::invalid_argument,
          fmt::format("the prompt has {} tokens, but this model's context holds {}, including at least one for "
                      "the answer",
                      size, context),
          kTooLong, input.param);
    if (fields.max_tokens && size + *fields.max_tokens > context)
      return ApiError(
          ErrorCode::invalid_argument,
          fmt::format("the prompt has {} tokens and {} is {}, together {}, but this model's context holds {}", size,
                      fields.max_tokens_param, *fields.max_tokens, size + *fields.max_tokens, context),
          kTooLong, fields.max_tokens_param);
    if (const int most = max_tokens(kind, fields, prompt.size()); fields.sampling.min_tokens > most)
      return ApiError(invalid_argument(
          fmt::format("min_tokens is {}; it must not exceed {}, which is {}{}", fields.sampling.min_tokens,
                      fields.max_tokens_param, most, fields.max_tokens ? "" : " where the request does not give it"),
          "min_tokens"));
  }
  if (fields.priority != 0 && !context_.engine.config().reads_priority)
    return ApiError(
        unsupported(fmt::format("priority is {}, but the queue's policy does not read it; leave it out, set it "
                                "to 0, or start the server with --scheduling-policy priority",
                                fields.priority),
                    "priority"));
  const int64_t vocab =
      context_.engine.config().vocab_size > 0 ? context_.engine.config().vocab_size : context_.tokenizer.vocab_size();
  for (const auto& [id, bias] : fields.sampling.logit_bias)
    if (id >= vocab)
      return ApiError(invalid_argument(
          fmt::format("logit_bias names token {}; this model's ids are below {}", id, vocab), "logit_bias"));
  for (const TokenId id : fields.stop_token_ids)
    if (id >= vocab)
      return ApiError(invalid_argument(
          fmt::format("stop_token_ids names token {}; this model's ids are below {}", id, vocab), "stop_token_ids"));
  return std::nullopt;
}

Request ServedModel::engine_request(ApiKind kind, const GenerationFields& fields, std::vector<TokenId> prompt,
                                    uint64_t seed, const Exchange& exchange) const {
  Request request;
  request.arrival = exchange.arrival;
  request.client = exchange.client.empty() ? fields.user : exchange.client;
  request.max_tokens = std::max(1, max_tokens(kind, fields, prompt.size()));
  request.prompt_logprobs = fields.prompt_logprobs;
  request.prompt = std::move(prompt);
  request.sampling = fields.sampling;
  request.sampling.seed = seed;
  request.n = fields.n;
  request.beam_width = fields.beam_width;
  request.length_penalty = fields.length_penalty;
  if (fields.beam_width > 0) request.sampling.temperature = 0;
  request.ignore_eos = fields.ignore_eos;
  request.eos_token_ids =
      context_.eos_token_ids.empty() ? context_.tokenizer.end_of_generation() : context_.eos_token_ids;
  request.stop_token_ids = fields.stop_token_ids;
  request.priority = fields.priority;
  request.salt = fields.cache_salt.empty()
                     ? context_.salt
                     : XXH3_64bits_withSeed(fields.cache_salt.data(), fields.cache_salt.size(), context_.salt);
  return request;
}

ServedModel::Refusal ServedModel::generate(ApiKind kind, const GenerationFields& fields, Tokenized input,
                                           const Exchange& exchange) {
  if (Refusal refusal = check_limits(kind, fields, input)) return refusal;
  const std::shared_ptr<ResponseWriter>& writer = exchange.writer;
  if (writer->disconnected()) return std::nullopt;

  GenerationSpec spec;
  spec.head.kind = kind;
  spec.head.id =
      (kind == ApiKind::chat ? "chatcmpl-" : "cmpl-") + (fields.request_id.empty() ? random_id() : fields.request_id);
  spec.head.model = fields.model.empty() ? context_.served_names[0] : fields.model;
  spec.head.created = std::time(nullptr);
  spec.headers = exchange.headers;
  if (!fields.warnings.empty()) spec.headers.emplace_back("X-Sluice-Warnings", warning_text(fields.warnings));
  spec.stream = fields.stream;
  spec.include_usage = fields.include_usage;
  spec.continuous_usage = fields.continuous_usage;
  spec.n = fields.n;
  spec.prompt_only = fields.max_tokens == 0;
  for (size_t i = 0; i < input.prompts.size(); ++i) {
    const std::vector<TokenId>& ids = input.prompts[i];
    GenerationSpec::PromptPart part{.tokens = static_cast<int>(ids.size())};
    if (!input.echo.empty()) part.echo = std::move(input.echo[i]);
    if (!input.offsets.empty() && !ids.empty()) {
      part.offsets = std::move(input.offsets[i]);
      part.first_token = ids[0];
    }
    part.at_text_start = std::ranges::all_of(ids, [&](TokenId t) { return context_.tokenizer.is_special(t); });
    spec.prompts.push_back(std::move(part));
  }
  spec.choice.stop = std::make_shared<const StopStrings>(fields.stop);
  spec.choice.stop_token_ids = fields.stop_token_ids;
  spec.choice.include_stop_in_output = fields.include_stop_in_output;
  spec.choice.skip_special_tokens = fields.skip_special_tokens;
  spec.choice.min_tokens = fields.sampling.min_tokens;
  spec.choice.logprobs = fields.sampling.logprobs >= 0;
  spec.choice.harmony = input.harmony;
  spec.choice.harmony_begins = input.harmony_begins;
  spec.arrival = exchange.arrival;

  const auto generation =
      std::make_shared<Generation>(std::move(spec), context_.engine, context_.tokenizer, metrics_, writer);
  std::vector<Request> requests;
  std::vector<Sink> sinks;
  for (size_t i = 0; i < input.prompts.size(); ++i) {
    const uint64_t seed = fields.seed ? static_cast<uint64_t>(*fields.seed) : random_u64();
    // On the engine's thread: copies and goes.
    sinks.emplace_back([generation, output = output_, clock = &context_.clock,
                       prompt = static_cast<int>(i)](const Output& o) {
      GenerationNews news{prompt,
                          o.request,
                          o.sample,
                          {o.tokens.begin(), o.tokens.end()},
                          o.finish,
                          o.cached_tokens,
                          std::string(o.error),
                          clock->now(),
                          {o.prompt.begin(), o.prompt.end()}};
      output->post([generation, news = std::move(news)] { generation->take(news); });
    });
    requests.push_back(engine_request(kind, fields, std::move(input.prompts[i]), seed, exchange));
    if (!input.reuse.empty()) requests.back().reuse = std::move(input.reuse[i]);
  }
  double retry_after_s = 1;
  const Result<std::vector<RequestId>> added =
      context_.engine.add(std::move(requests), std::move(sinks), &retry_after_s);
  if (!added.ok()) {
    ApiError error(added.error());
    error.retry_after_s = static_cast<int>(retry_after_s);
    if (error.param == "prompt") error.param = input.param;
    output_->post([generation, error] { generation->fail(error); });
    return std::nullopt;
  }
  const std::vector<RequestId>& ids = *added;
  output_->post([generation, ids] { generation->started(ids); });
  writer->on_disconnect([engine = &context_.engine, ids] {
    for (const RequestId id : ids) engine->cancel(id);
  });
  if (request_timeout_.count() > 0)
    output_->post_after(request_timeout_ - std::chrono::nanoseconds(context_.clock.now() - exchange.arrival),
                        [weak = std::weak_ptr(generation), error = too_late()] {
                          if (const auto late = weak.lock()) late->fail(error);
                        });
  return std::nullopt;
}

// An engine without work counts as having progressed just now.
Nanos ServedModel::last_progress() const { return context_.engine.stats().last_progress; }

}  // namespace sluice
