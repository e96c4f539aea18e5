#pragma once
// One request of /v1/completions or /v1/chat/completions after it was handed to the engine: turns the engine's news
// into the answer, whole or as a stream of events. It is confined to one thread, the server's output worker.

#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "serve/http/http_server.h"
#include "serve/openai/api_error.h"
#include "serve/openai/choice.h"
#include "serve/openai/metrics.h"
#include "serve/openai/response_json.h"

namespace sluice {

struct GenerationSpec {
  struct PromptPart {
    int tokens = 0;
    std::string echo;            // stands before the answer's text
    std::vector<size_t> offsets;  // of its tokens in the echo, in code points, where their logprobs are wanted
    TokenId first_token = 0;
    bool at_text_start = false;  // see ChoiceOptions
  };
  AnswerHead head;
  HttpHeaders headers;
  bool stream = false, include_usage = false;
  bool continuous_usage = false;  // with include_usage: in every chunk, not at the end alone
  int n = 1;
  std::vector<PromptPart> prompts;  // choice i belongs to prompt i / n
  bool prompt_only = false;         // max_tokens 0: what the engine samples is not told
  ChoiceOptions choice;
  Nanos arrival = 0;
};

/// An Output of the engine, copied off its thread.
struct GenerationNews {
  int prompt = 0;
  RequestId request = 0;
  int sample = 0;
  std::vector<SampledToken> tokens;
  FinishReason finish = FinishReason::none;
  int cached_tokens = 0;
  std::string error;
  Nanos at = 0;
  std::vector<SampledToken> prompt_tokens;  // newly scored
};

class Generation {
 public:
  /// The engine and the tokenizer outlive it.
  Generation(GenerationSpec spec, Engine& engine, const Tokenizer& tokenizer, std::shared_ptr<ServerMetrics> metrics,
             std::shared_ptr<ResponseWriter> writer);

  /// The engine's ids, one per prompt; news may come before.
  void started(std::vector<RequestId> requests);
  void take(const GenerationNews& news);
  /// Ends an answer that is not complete, with an error, and cancels what still runs.
  void fail(const ApiError& error);

 private:
  struct Slot {
    Choice choice;
    bool begun = false;  // its first chunk was sent
    bool prompt_told = false;
    Nanos last_token_at = 0;
  };
  void measure(const GenerationNews& news, Slot& slot);
  std::string events(int index);
  void complete();
  Usage usage() const;
  const GenerationSpec::PromptPart& prompt_of(int index) const {
    return spec_.prompts[static_cast<size_t>(index / spec_.n)];
  }
  /// Of what the choice has to tell since the last call; its prompt's come first.
  Json take_logprobs(int index);
  std::string chunk(Json choice) const;
  /// What the ids of a choice's tool calls begin with.
  std::string call_id_prefix(int index) const;

  const GenerationSpec spec_;
  Engine& engine_;
  const Tokenizer& tokenizer_;
  const std::shared_ptr<ServerMetrics> metrics_;
  const std::shared_ptr<ResponseWriter> writer_;
  std::vector<Slot> slots_;
  std::vector<int> cached_tokens_;     // by prompt
  std::vector<std::vector<SampledToken>> scored_;  // by prompt: its tokens from the second on
  std::vector<bool> had_first_token_;  // by prompt
  std::vector<RequestId> requests_;
  size_t open_;             // choices that have not ended
  bool streaming_ = false;  // the head of the stream was sent
  bool answered_ = false;
};

}  // namespace sluice
