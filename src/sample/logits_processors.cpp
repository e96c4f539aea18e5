#include "sample/logits_processors.h"

#include <limits>
#include <unordered_map>
#include <unordered_set>

namespace sluice {

void apply_min_tokens(const Request& request, const SampleContext& context, std::span<float> logits) {
  const int outputs = static_cast<int>(context.tokens.size()) - context.prompt_tokens;
  if (outputs >= request.sampling.min_tokens) return;
  auto forbid = [&](const std::vector<TokenId>& ids) {
    for (const TokenId id : ids)
      if (id >= 0 && static_cast<size_t>(id) < logits.size()) logits[id] = -std::numeric_limits<float>::infinity();
  };
  if (!request.ignore_eos) forbid(request.eos_token_ids);
  forbid(request.stop_token_ids);
}

void apply_logit_bias(const SamplingParams& params, std::span<float> logits) {
  for (const auto& [id, bias] : params.logit_bias)
    if (id >= 0 && static_cast<size_t>(id) < logits.size()) logits[id] += bias;
}

void apply_penalties(const SamplingParams& params, const SampleContext& context, std::span<float> logits) {
  auto known = [&](TokenId id) { return id >= 0 && static_cast<size_t>(id) < logits.size(); };
  if (params.repetition_penalty != 1.0f) {
    const std::unordered_set<TokenId> seen(context.tokens.begin(), context.tokens.end());
    for (const TokenId id : seen) {
      if (!known(id)) continue;
      float& z = logits[id];
      z = z > 0 ? z / params.repetition_penalty : z * params.repetition_penalty;
    }
  }
  if (params.frequency_penalty == 0.0f && params.presence_penalty == 0.0f) return;
  std::unordered_map<TokenId, int> counts;
  for (const TokenId id : context.tokens.subspan(context.prompt_tokens)) ++counts[id];
  for (const auto& [id, count] : counts)
    if (known(id)) logits[id] -= params.frequency_penalty * static_cast<float>(count) + params.presence_penalty;
}

}  // namespace sluice
