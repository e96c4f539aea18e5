#include "serve/openai/encoder_endpoints.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/base64.h"

namespace sluice {
namespace {

using End = EncoderMetrics::End;

Json embedding_json(std::span<const float> values, bool as_base64) {
  if (!as_base64) return std::vector<double>(values.begin(), values.end());
  static_assert(std::endian::native == std::endian::little);
  return to_base64({reinterpret_cast<const char*>(values.data()), values.size_bytes()});
}

// The first values of a vector made of them all, to length 1 again if it had that (Kusupati et al. 2022, "Matryoshka representation learning").
std::vector<float> beginning(std::span<const float> values, size_t count, bool normalized) {
  std::vector<float> out(values.begin(), values.begin() + static_cast<int64_t>(count));
  if (!normalized || count == values.size()) return out;
  double sum = 0;
  for (const float v : out) sum += static_cast<double>(v) * v;
  const double length = std::max(std::sqrt(sum), 1e-12);
  for (float& v : out) v = static_cast<float>(v / length);
  return out;
}

int64_t tokens_of(const std::vector<QueuedText>& texts) {
  int64_t tokens = 0;
  for (const QueuedText& text : texts) tokens += static_cast<int64_t>(text.tokens.size());
  return tokens;
}

HttpResponse with_warnings(HttpResponse response, const std::vector<std::string>& warnings) {
  if (!warnings.empty()) response.headers.emplace_back("X-Sluice-Warnings", warning_text(warnings));
  return response;
}

}  // namespace

EncoderEndpoints::EncoderEndpoints(EncoderContext context, std::chrono::nanoseconds request_timeout, std::shared_ptr<Worker> output)
    : Endpoints(context.identity),
      context_(std::move(context)),
      request_timeout_(request_timeout),
      output_(std::move(output)),
      shape_(tokenizer(), context_.pair),
      metrics_(name(), context_.queue) {}

std::string EncoderEndpoints::purpose() const {
  return context_.scores ? "scores documents for a query (POST /v1/rerank)" : "makes embeddings of texts (POST /v1/embeddings)";
}

void EncoderEndpoints::embeddings(const Exchange& exchange) { answer(exchange, !context_.scores, &EncoderEndpoints::embed); }
void EncoderEndpoints::rerank(const Exchange& exchange) { answer(exchange, context_.scores, &EncoderEndpoints::score); }

void EncoderEndpoints::answer(const Exchange& exchange, bool offered, Refusal (EncoderEndpoints::*make)(const Exchange&)) {
  if (!offered) return refuse(exchange);
  if (const Refusal refusal = (this->*make)(exchange)) exchange.respond(refusal->response());
}

Result<int> EncoderEndpoints::limit_of(const TextFields& fields) const {
  if (!fields.truncate) return 0;
  if (*fields.truncate > context_.max_tokens)
    return invalid_argument(fmt::format("truncate_prompt_tokens is {}; this model takes {} tokens at most, which -1 stands for", *fields.truncate,
                                        context_.max_tokens),
                            "truncate_prompt_tokens");
  return *fields.truncate < 0 ? context_.max_tokens : *fields.truncate;
}

Endpoints::Refusal EncoderEndpoints::check_length(size_t tokens, const std::string& param, const char* more) const {
  if (tokens == 0) return ApiError(invalid_argument(fmt::format("{} is empty, and this model has no token that stands for an empty text", param), param));
  if (tokens <= static_cast<size_t>(context_.max_tokens)) return std::nullopt;
  return ApiError(ErrorCode::invalid_argument,
                  fmt::format("{}{} has {} tokens, but this model takes {} at most; shorten it, or have it cut with truncate_prompt_tokens (-1: to that many)",
                              param, more, tokens, context_.max_tokens),
                  kTooLong, param);
}

Endpoints::Refusal EncoderEndpoints::check_count(size_t texts, const char* param) const {
  const auto most = static_cast<size_t>(context_.queue.options().max_waiting);
  if (texts <= most) return std::nullopt;
  return ApiError(invalid_argument(fmt::format("{} holds {} texts; at most {} fit the queue (--max-waiting)", param, texts, most), param));
}

Endpoints::Refusal EncoderEndpoints::embed(const Exchange& exchange) {
  const Result<Json> body = parse_json(exchange.request.body);
  if (!body.ok()) return ApiError(body.error());
  Result<EmbeddingRequest> parsed = parse_embedding_request(*body);
  if (!parsed.ok()) return ApiError(parsed.error());
  if (Refusal refusal = check_model(parsed->model)) return refusal;
  if (Refusal refusal = check_count(parsed->inputs.size(), "input")) return refusal;
  const auto width = static_cast<size_t>(context_.queue.options().width);
  if (parsed->dimensions && static_cast<size_t>(*parsed->dimensions) > width)
    return ApiError(invalid_argument(fmt::format("dimensions is {}; this model's embeddings have {}", *parsed->dimensions, width), "dimensions"));
  const Result<int> most = limit_of(*parsed);
  if (!most.ok()) return ApiError(most.error());
  std::vector<QueuedText> texts;
  for (size_t i = 0; i < parsed->inputs.size(); ++i) {
    const std::string param = parsed->inputs.size() == 1 ? std::string("input") : fmt::format("input[{}]", i);
    if (const auto* text = std::get_if<std::string>(&parsed->inputs[i])) {
      if (Refusal refusal = *most == 0 ? check_bytes(text->size(), "input") : std::nullopt) return refusal;
      texts.push_back(shape_.single(*text, parsed->add_special_tokens, *most));
    } else {
      texts.push_back({std::move(std::get<std::vector<TokenId>>(parsed->inputs[i]))});
      std::vector<TokenId>& ids = texts.back().tokens;
      if (const auto bad = std::ranges::find_if(ids, [&](TokenId id) { return id >= vocab_size(); }); bad != ids.end())
        return ApiError(invalid_argument(fmt::format("{} holds token {}; this model's ids are below {}", param, *bad, vocab_size()), "input"));
      if (*most > 0 && ids.size() > static_cast<size_t>(*most)) ids.resize(static_cast<size_t>(*most));
    }
    if (Refusal refusal = check_length(texts.back().tokens.size(), param)) return refusal;
  }
  const int64_t tokens = tokens_of(texts);
  const size_t kept = parsed->dimensions ? static_cast<size_t>(*parsed->dimensions) : width;
  return submit(exchange, std::move(texts), [=, this, request = std::move(*parsed)](const std::vector<float>& results) {
    Json data = Json::array();
    for (size_t i = 0; i * width < results.size(); ++i)
      data.push_back({{"object", "embedding"},
                      {"index", i},
                      {"embedding", embedding_json(beginning(std::span(results).subspan(i * width, width), kept, context_.normalized), request.base64)}});
    HttpResponse response = json_response({{"object", "list"},
                                           {"data", std::move(data)},
                                           {"model", request.model.empty() ? name() : request.model},
                                           {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}});
    if (kept < width)
      response.headers.emplace_back("X-Sluice-Note", fmt::format("the first {} of {} dimensions{}; meant for models trained so (Matryoshka)", kept, width,
                                                                 context_.normalized ? ", normalized anew" : ""));
    return with_warnings(std::move(response), request.warnings);
  });
}

Endpoints::Refusal EncoderEndpoints::score(const Exchange& exchange) {
  const Result<Json> body = parse_json(exchange.request.body);
  if (!body.ok()) return ApiError(body.error());
  Result<RerankRequest> parsed = parse_rerank_request(*body);
  if (!parsed.ok()) return ApiError(parsed.error());
  if (Refusal refusal = check_model(parsed->model)) return refusal;
  if (Refusal refusal = check_count(parsed->documents.size(), "documents")) return refusal;
  if (!parsed->instruction.empty() && context_.pair.prompt.empty())
    return ApiError(unsupported("instruction is given, but this model has no place for one; leave it out", "instruction"));
  const Result<int> most = limit_of(*parsed);
  if (!most.ok()) return ApiError(most.error());
  std::vector<QueuedText> texts;
  for (size_t i = 0; i < parsed->documents.size(); ++i) {
    const std::string& document = parsed->documents[i];
    if (Refusal refusal = *most == 0 ? check_bytes(parsed->query.size() + document.size(), "documents") : std::nullopt) return refusal;
    Result<QueuedText> pair = shape_.pair(parsed->query, document, parsed->instruction, *most);
    if (!pair.ok()) return ApiError(pair.error());
    texts.push_back(std::move(*pair));
    if (Refusal refusal = check_length(texts.back().tokens.size(), fmt::format("documents[{}]", i), " with the query")) return refusal;
  }
  const int64_t tokens = tokens_of(texts);
  return submit(exchange, std::move(texts), [=, this, request = std::move(*parsed)](const std::vector<float>& scores) {
    std::vector<size_t> order(scores.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    if (request.top_n) order.resize(std::min(order.size(), static_cast<size_t>(*request.top_n)));
    Json results = Json::array();
    for (const size_t i : order) {
      const double raw = scores[i];
      Json result{{"index", i}, {"relevance_score", request.raw_scores ? raw : 1 / (1 + std::exp(-raw))}};
      if (request.return_documents) result["document"] = {{"text", request.documents[i]}};
      results.push_back(std::move(result));
    }
    return with_warnings(json_response({{"id", "rerank-" + random_id()},
                                        {"object", "list"},
                                        {"model", request.model.empty() ? name() : request.model},
                                        {"results", std::move(results)},
                                        {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}}),
                         request.warnings);
  });
}

/// A request in the queue: answered once, by its result, by its time running out, or not at all when its client is gone.
struct EncoderEndpoints::Pending {
  Exchange exchange;
  std::atomic<bool> answered{false};
};

void EncoderEndpoints::finish(Pending& pending, HttpResponse response, End end) {
  if (pending.answered.exchange(true)) return;
  metrics_.finished(end, clock().now() - pending.exchange.arrival);
  pending.exchange.respond(std::move(response));
}

Endpoints::Refusal EncoderEndpoints::submit(const Exchange& exchange, std::vector<QueuedText> texts, Body body) {
  if (exchange.writer->disconnected()) return std::nullopt;
  const auto too_late = [limit = request_timeout_] {
    return ApiError(ErrorCode::deadline_exceeded, fmt::format("the request took longer than {:g} s (--request-timeout)", static_cast<double>(limit.count()) * 1e-9),
                    "request_timeout");
  };
  const auto pending = std::make_shared<Pending>();
  pending->exchange = exchange;
  pending->exchange.request = {};  // its body has been read
  const auto finish = [self = shared_from_this(), pending](HttpResponse response, End end) { self->finish(*pending, std::move(response), end); };
  const Result<uint64_t> added = context_.queue.add(std::move(texts), [output = output_, finish, body = std::move(body)](Result<std::vector<float>> result) {
    output->post([finish, body, result = std::move(result)] {
      if (result.ok())
        finish(body(*result), End::stop);
      else
        finish(ApiError(result.error()).response(), End::error);
    });
  });
  if (!added.ok()) return ApiError(added.error());
  exchange.writer->on_disconnect([weak = weak_from_this(), late = std::weak_ptr(pending), id = *added] {
    const auto self = weak.lock();
    const auto still = late.lock();
    if (self == nullptr || still == nullptr || !self->context_.queue.cancel(id) || still->answered.exchange(true)) return;
    self->metrics_.finished(End::abort, self->clock().now() - still->exchange.arrival);
  });
  if (request_timeout_.count() > 0)
    output_->post_after(request_timeout_ - std::chrono::nanoseconds(clock().now() - exchange.arrival),
                        [weak = weak_from_this(), late = std::weak_ptr(pending), id = *added, too_late] {
                          const auto self = weak.lock();
                          const auto still = late.lock();
                          if (self == nullptr || still == nullptr) return;  // answered long ago
                          self->context_.queue.cancel(id);
                          self->finish(*still, too_late().response(), End::abort);
                        });
  return std::nullopt;
}

}  // namespace sluice
