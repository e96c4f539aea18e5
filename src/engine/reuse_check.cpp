#include "engine/reuse_check.h"

#include <algorithm>

namespace sluice {

Status check_reuse(const Request& request, const EngineConfig& config) {
  const KvReuse& reuse = request.reuse;
  if (!reuse.any()) return {};
  const auto wrong = [](std::string text) { return invalid_argument(std::move(text), "prompt_cache"); };
  const int prompt = static_cast<int>(request.prompt.size()), context = config.scheduler.max_model_len;
  if (!config.reuses_segments)
    return wrong("KV of segments is not reused here; start the server with --prompt-schema FILE, or --enable-chunk-reuse for chunks");
  if (request.prompt_logprobs >= 0)
    return wrong("logprobs of the prompt need all of it computed, and prompt_cache is there to compute less; leave one of them out");
  if (!(reuse.recompute >= 0 && reuse.recompute <= 1))
    return wrong(fmt::format("the share to be recomputed is {}; it must be from 0 to 1", reuse.recompute));
  if (!reuse.positions.empty() && static_cast<int>(reuse.positions.size()) != prompt)
    return wrong(fmt::format("{} positions are given for {} prompt tokens", reuse.positions.size(), prompt));
  for (const int32_t p : reuse.positions)
    if (p < 0 || p >= context) return wrong(fmt::format("position {} lies outside of the context of {} (--max-model-len)", p, context));
  if (const int64_t last = int64_t{reuse.position_of(prompt - 1)} + request.max_tokens; last >= context)
    return wrong(fmt::format("the positions of the prompt and {} new tokens reach {}, but the context holds {} (--max-model-len)", request.max_tokens, last,
                             context));
  int end = 0, largest = 0;
  for (const KvSegment& s : reuse.segments) {
    if (s.tokens < 1 || s.first < end || s.first > prompt - s.tokens)
      return wrong(fmt::format("a segment of {} tokens at {} is empty, overlaps, or lies outside of the prompt's {}", s.tokens, s.first, prompt));
    if (s.lead < 0 || s.lead > reuse.segments[0].first || reuse.position_of(s.first) < s.shift)
      return wrong(fmt::format("the segment at {} is encoded behind {} tokens and shifted by {}; there are {} before the first segment", s.first, s.lead,
                               s.shift, reuse.segments[0].first));
    end = s.end();
    largest = std::max(largest, s.encoded_tokens());
  }
  if (end >= prompt) return wrong("the prompt ends in a segment; it needs at least one token after the last one, whose logits are wanted");
  const int block = config.block_tokens;
  const auto blocks = [block](int64_t tokens) { return (tokens + block - 1) / block; };
  if (const int64_t needed = blocks(int64_t{prompt} + request.max_tokens) + blocks(largest); needed > config.kv_blocks)
    return wrong(fmt::format("the sequence and its largest segment need {} KV blocks, but there are {}", needed, config.kv_blocks));
  return {};
}

}  // namespace sluice
