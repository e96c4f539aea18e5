#pragma once
// Requests of the two generating endpoints, read from JSON into plain data. Nothing here needs a model; what depends on
// one (tokenizing, the context's length) comes later.
//
// Nothing is silent: a known parameter that is not honoured is an error that names it, unless its value changes
// nothing; a field that nobody knows is listed in `warnings`.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "sched/request.h"
#include "serve/openai/field_reader.h"
#include "serve/openai/modular_prompt.h"

namespace sluice {

/// What both endpoints share.
struct GenerationFields {
  std::string model;            // empty: whichever is served
  std::string request_id;       // empty: the server makes one
  SamplingParams sampling;      // the given defaults, changed by the request; seed and logit_bias ids checked later
  std::optional<int64_t> seed;  // of every prompt, as in vLLM: equal prompts, equal answers; absent: each draws its own
  std::optional<int> max_tokens;                // 0: an echo and nothing more
  std::string max_tokens_param = "max_tokens";  // the name that the request used
  int n = 1;
  int beam_width = 0;  // as Request's
  float length_penalty = 1;
  int prompt_logprobs = -1;  // as Request's; of an echo
  bool stream = false, include_usage = false;
  bool continuous_usage = false;  // usage in every chunk
  std::vector<std::string> stop;
  std::vector<TokenId> stop_token_ids;
  bool include_stop_in_output = false;
  bool ignore_eos = false;
  bool skip_special_tokens = true;
  int priority = 0;
  std::string cache_salt;
  std::optional<PromptCacheFields> prompt_cache;
  std::string user;  // the client, where no keys tell clients apart
  std::vector<std::string> warnings;
};

using Prompt = std::variant<std::string, std::vector<TokenId>>;

struct CompletionRequest : GenerationFields {
  std::vector<Prompt> prompts;
  bool echo = false;
  bool add_special_tokens = true;
  bool parse_special = false;  // read control tokens written in the prompt as such
};

inline constexpr int kMaxTopLogprobs = 20;
inline constexpr size_t kMaxStopStrings = 64, kMaxStopBytes = 16 << 10;

Result<CompletionRequest> parse_completion_request(const Json& body, const SamplingParams& defaults);

/// Reads the shared fields but for logprobs and max_tokens, whose forms differ; failures stay in the reader.
void read_generation_fields(FieldReader& in, GenerationFields& out);
/// "prompt" of a completion, "input" of embeddings: text, token ids, or an array of either.
void read_prompts(FieldReader& in, const char* field, std::vector<Prompt>& out);
/// Names that a header can carry.
std::string warning_text(const std::vector<std::string>& warnings);

}  // namespace sluice
