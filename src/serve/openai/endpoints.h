#pragma once
// What a loaded model answers: text (served_model.h), or embeddings and scores (encoder_endpoints.h). Whatever a model does not answer is refused
// in words that say what it is for.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "serve/http/http_server.h"
#include "serve/openai/api_error.h"
#include "serve/openai/chat_prompt.h"
#include "serve/openai/json_text.h"
#include "text/tokenizer/tokenizer.h"

namespace sluice {

/// What any model brings. Everything behind a reference or pointer outlives the server.
struct ModelIdentity {
  const Tokenizer& tokenizer;
  const Clock& clock;                           // of whatever runs the model
  std::vector<std::string> served_names;        // at least one; answers carry the first
  std::string root = {};                        // where the model came from
  int64_t created = 0;                          // Unix time, s
  const ChatTemplate* chat_template = nullptr;  // null: chat requests are refused with a clear message
  const ChatTemplate* tool_template = nullptr;  // in its place where tools are given; null: the same
};

/// One request with the headers that its answer will carry, whatever it is.
struct Exchange {
  HttpRequest request;
  HttpHeaders headers;
  std::shared_ptr<ResponseWriter> writer;
  Nanos arrival = 0;  // when the server had all of it, by the model's clock
  std::string client;  // by its key; empty: no keys are asked for, and the body says

  void respond(HttpResponse response) const {
    response.headers.insert(response.headers.end(), headers.begin(), headers.end());
    writer->respond(std::move(response));
  }
};

class Endpoints {
 public:
  explicit Endpoints(ModelIdentity identity);
  virtual ~Endpoints() = default;

  virtual void completions(const Exchange& exchange) { refuse(exchange); }
  virtual void chat_completions(const Exchange& exchange) { refuse(exchange); }
  virtual void embeddings(const Exchange& exchange) { refuse(exchange); }
  virtual void rerank(const Exchange& exchange) { refuse(exchange); }
  HttpResponse tokenize(const HttpRequest& request) const;
  HttpResponse detokenize(const HttpRequest& request) const;
  HttpResponse models() const;
  HttpResponse model(const std::string& name) const;
  virtual std::string metrics() const = 0;
  /// False when there is work and nothing was done for that long.
  bool healthy(Nanos patience) const { return clock().now() - last_progress() <= patience; }
  /// Takes no more requests.
  virtual void close() = 0;
  const Clock& clock() const { return identity_.clock; }

 protected:
  using Refusal = std::optional<ApiError>;
  virtual int context_tokens() const = 0;
  /// Ids that requests may hold are below it; 0: the tokenizer's.
  virtual int64_t model_vocab() const = 0;
  /// "generates text (POST /v1/completions, ...)".
  virtual std::string purpose() const = 0;
  /// When it last did something; an idle one just now.
  virtual Nanos last_progress() const = 0;

  void refuse(const Exchange& exchange) const;
  Refusal check_model(const std::string& name) const;
  /// Before the work of tokenizing what cannot fit.
  Refusal check_bytes(size_t bytes, const char* param) const;
  const Tokenizer& tokenizer() const { return identity_.tokenizer; }
  int64_t vocab_size() const { return model_vocab() > 0 ? model_vocab() : tokenizer().vocab_size(); }
  const std::string& name() const { return identity_.served_names.at(0); }
  const ChatPrompt& chat_prompt() const { return chat_prompt_; }

 private:
  Json model_json(const std::string& name) const;

  const ModelIdentity identity_;
  const ChatPrompt chat_prompt_;
};

inline constexpr char kTooLong[] = "context_length_exceeded";
HttpResponse json_response(const Json& json);
/// The system's, for seeds.
uint64_t random_u64();
/// 128 random bits in hexadecimal.
std::string random_id();

}  // namespace sluice
