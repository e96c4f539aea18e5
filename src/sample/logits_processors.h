#pragma once
// What changes logits before a token is drawn, in this order: the minimum length, logit_bias, then penalties.

#include <span>

#include "sched/request.h"

namespace sluice {

/// A row's place in its sequence: its tokens so far, of which the first `prompt_tokens` are the prompt.
struct SampleContext {
  std::span<const TokenId> tokens;
  int prompt_tokens = 0;
  int sample = 0;  // which of the request's n
};

/// A stop token cannot be among the first min_tokens outputs, as in vLLM: until then their logits become -inf.
void apply_min_tokens(const Request& request, const SampleContext& context, std::span<float> logits);
/// OpenAI's logit_bias: added to the logits; ids outside the vocabulary were refused before.
void apply_logit_bias(const SamplingParams& params, std::span<float> logits);
/// Repetition (CTRL; Keskar et al., 2019: divides positive and multiplies negative logits of every token seen in prompt or
/// output), frequency (times the count in the output) and presence (once for any in the output), as OpenAI defines them.
void apply_penalties(const SamplingParams& params, const SampleContext& context, std::span<float> logits);

}  // namespace sluice
