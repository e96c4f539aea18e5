#pragma once
// The endpoints that need a loaded model. Each call parses, renders and tokenizes on the caller's thread, which is
// never the I/O thread, and hands the request to the engine; the answer is written from the output worker.

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/engine.h"
#include "serve/openai/endpoints.h"
#include "serve/openai/generation.h"
#include "serve/openai/metrics.h"
#include "serve/openai/modular_prompt.h"
#include "serve/openai/worker.h"
#include "text/tokenizer/tokenizer.h"

namespace sluice {

/// What a model brings to the server. Everything behind a reference or pointer outlives the server.
struct ApiContext {
  Engine& engine;
  const Tokenizer& tokenizer;
  const ChatTemplate* chat_template = nullptr;  // null: chat requests are refused with a clear message
  const ChatTemplate* tool_template = nullptr;  // in its place where tools are given; null: the same
  const Clock& clock;                           // the engine's
  std::vector<std::string> served_names;        // at least one; answers carry the first
  std::string root;                             // where the model came from
  int64_t created = 0;                          // Unix time, s
  SamplingParams default_sampling;              // from generation_config.json
  std::optional<int>
      default_max_tokens;              // where the request gives none; by default 16, for chat the rest of the context
  std::vector<TokenId> eos_token_ids;  // empty: the tokenizer's
  CacheSalt salt = 0;                  // of the model, for the prefix cache
  ModularPrompts modular;              // schemas, and whether chunks are reused
};

class ServedModel final : public Endpoints {
 public:
  /// request_timeout counts from a request's arrival; 0: none. Registers its metrics with the engine, so it comes
  /// before the engine's first step.
  ServedModel(ApiContext context, std::chrono::nanoseconds request_timeout, std::shared_ptr<Worker> output);

  void completions(const Exchange& exchange) override;
  void chat_completions(const Exchange& exchange) override;
  std::string metrics() const override { return metrics_->text(); }
  void close() override { context_.engine.close(); }

 private:
  struct Tokenized {
    std::vector<std::vector<TokenId>> prompts;
    std::vector<std::string> echo;             // empty, or one per prompt
    std::vector<std::vector<size_t>> offsets;  // as PromptPart's: empty, or one per prompt
    std::vector<KvReuse> reuse;                // empty, or one per prompt
    std::shared_ptr<const HarmonyTokens> harmony;  // of a chat whose replies are to be parted; else null
    HarmonyReply::Begins harmony_begins = HarmonyReply::Begins::in_header;
    const char* param = "prompt";
  };
  void answer(const Exchange& exchange, Refusal (ServedModel::*generate)(const Exchange&));
  Refusal complete(const Exchange& exchange);
  Refusal chat(const Exchange& exchange);
  Refusal generate(ApiKind kind, const GenerationFields& fields, Tokenized input, const Exchange& exchange);
  /// Puts what prompt_cache names before each prompt.
  Refusal assemble(const GenerationFields& fields, Tokenized& input) const;
  Refusal check_limits(ApiKind kind, const GenerationFields& fields, const Tokenized& input) const;
  Request engine_request(ApiKind kind, const GenerationFields& fields, std::vector<TokenId> prompt, uint64_t seed,
                         const Exchange& exchange) const;
  ApiError too_late() const;
  int max_tokens(ApiKind kind, const GenerationFields& fields, size_t prompt_tokens) const;
  int context_tokens() const override { return context_.engine.config().scheduler.max_model_len; }
  int64_t model_vocab() const override { return context_.engine.config().vocab_size; }
  std::string purpose() const override {
    return "generates text (POST /v1/completions, /v1/chat/completions); embeddings and scores are made by models with pooling or a classifier, or under "
           "sluice serve --task";
  }
  Nanos last_progress() const override;

  const ApiContext context_;
  const std::chrono::nanoseconds request_timeout_;
  const std::shared_ptr<Worker> output_;
  const std::shared_ptr<ServerMetrics> metrics_;
};

}  // namespace sluice
