#pragma once
// What a client asks for, as plain data. Immutable once it is in the engine.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "kv/prefix/prefix_cache.h"
#include "sched/kv_reuse.h"

namespace sluice {

struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy, the lowest id wins ties
  int top_k = 0;             // 0: off
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;  // over prompt and output (Keskar et al., CTRL, 2019)
  float presence_penalty = 0.0f;    // over output, as OpenAI defines both
  float frequency_penalty = 0.0f;
  std::vector<std::pair<TokenId, float>> logit_bias;
  uint64_t seed = 0;
  int logprobs = -1;  // -1: none; k >= 0: the sampled token's and the top k
  int min_tokens = 0;  // no stop token among the first so many outputs
};

struct Request {
  std::vector<TokenId> prompt;  // at least one token
  SamplingParams sampling;
  int max_tokens = 16;
  int n = 1;                    // samples of one prompt, or the best of its beams
  int beam_width = 0;           // > 0: beam search with so many beams, at least n; temperature and penalties have no part in it
  float length_penalty = 1.0f;  // a beam scores the sum of its logprobs / length^this
  // Of the prompt's own tokens, each given those before it: -1: none; k >= 0: its logprob and the top k. All of the
  // prompt is then computed, whatever the prefix cache holds.
  int prompt_logprobs = -1;
  bool ignore_eos = false;
  std::vector<TokenId> eos_token_ids;   // the model's; ignored under ignore_eos
  std::vector<TokenId> stop_token_ids;  // the client's
  int priority = 0;             // lower runs first, under the policies that read it
  std::string client;           // whose request this is: what is shared among clients is shared by this name
  CacheSalt salt = 0;
  KvReuse reuse;                // segments of the prompt whose KV is no prefix
  Nanos arrival = 0;            // filled in by the engine when 0

  /// The most sequences that it is at once.
  int lines() const { return std::max(n, beam_width); }
};

enum class FinishReason : uint8_t { none, stop, length, cancelled, error };
const char* finish_reason_name(FinishReason reason);

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;
  bool operator==(const TokenLogprob&) const = default;
};

/// One token, sampled or of the prompt; `top` is sorted by falling logprob, and has as many entries as the request
/// asked for.
struct SampledToken {
  TokenId token = 0;
  float logprob = 0;
  std::vector<TokenLogprob> top;
};

}  // namespace sluice
