#pragma once
// The endpoints of a model that reads texts whole: POST /v1/embeddings, or POST /v1/rerank. Texts are tokenized on the caller's thread, computed by
// the queue's, and answered from the output worker.

#include <memory>
#include <string>
#include <vector>

#include "engine/encoder_queue.h"
#include "serve/openai/embedding_request.h"
#include "serve/openai/encoder_metrics.h"
#include "serve/openai/endpoints.h"
#include "serve/openai/text_shape.h"
#include "serve/openai/worker.h"

namespace sluice {

struct EncoderContext {
  ModelIdentity identity;
  EncoderQueue& queue;
  int max_tokens = 0;       // of a text
  int64_t vocab_size = 0;   // of the model
  bool scores = false;      // reranks; otherwise makes embeddings
  bool normalized = false;  // embeddings have length 1
  PairStyle pair;
};

class EncoderEndpoints final : public Endpoints, public std::enable_shared_from_this<EncoderEndpoints> {
 public:
  /// request_timeout counts from a request's arrival; 0: none.
  EncoderEndpoints(EncoderContext context, std::chrono::nanoseconds request_timeout, std::shared_ptr<Worker> output);

  void embeddings(const Exchange& exchange) override;
  void rerank(const Exchange& exchange) override;
  std::string metrics() const override { return metrics_.text(); }
  void close() override { context_.queue.close(); }

 private:
  using Body = std::function<HttpResponse(const std::vector<float>&)>;
  struct Pending;
  int context_tokens() const override { return context_.max_tokens; }
  int64_t model_vocab() const override { return context_.vocab_size; }
  std::string purpose() const override;
  Nanos last_progress() const override { return context_.queue.stats().last_progress; }
  /// Answers, unless somebody has.
  void finish(Pending& pending, HttpResponse response, EncoderMetrics::End end);
  Refusal embed(const Exchange& exchange);
  Refusal score(const Exchange& exchange);
  void answer(const Exchange& exchange, bool offered, Refusal (EncoderEndpoints::*make)(const Exchange&));
  /// Tokens that a text may have, by what the request says of cutting; an error where that is more than the model takes.
  Result<int> limit_of(const TextFields& fields) const;
  Refusal check_length(size_t tokens, const std::string& param, const char* more = "") const;
  Refusal check_count(size_t texts, const char* param) const;
  /// Queues the texts, and answers with what `body` makes of their results.
  Refusal submit(const Exchange& exchange, std::vector<QueuedText> texts, Body body);

  const EncoderContext context_;
  const std::chrono::nanoseconds request_timeout_;
  const std::shared_ptr<Worker> output_;
  const TextShape shape_;
  EncoderMetrics metrics_;
};

}  // namespace sluice
