#pragma once
// One line of tokens and how far its KV reaches. There are no phases: a sequence has `tokens`, and `computed` of them
// have valid KV; a step computes some more. Techniques keep their own side tables by SeqId, never fields here.

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include "kv/block_table.h"
#include "sched/request.h"

namespace sluice {

struct Sequence {
  enum class State : uint8_t { waiting, running, finished };

  SeqId id = kNoSeq;
  std::shared_ptr<const Request> request;
  int sample = 0;            // which of the request's n
  State state = State::waiting;
  std::vector<TokenId> tokens;  // prompt, then output
  int computed = 0;          // KV is valid for positions [0, computed)
  int cached = 0;            // prompt tokens found in the prefix cache at the last admission
  BlockTable table;
  Nanos arrival = 0;

  int prompt_tokens() const { return static_cast<int>(request->prompt.size()); }
  int output_tokens() const { return static_cast<int>(tokens.size()) - prompt_tokens(); }
  /// Positions without KV. 1 means that the next step samples from the newest token alone.
  int remaining() const { return static_cast<int>(tokens.size()) - computed; }
  /// Of the positions [first, first + n), how many predict a token of the prompt whose logprob is wanted: these are the
  /// first ones. Sample 0 speaks for all samples.
  int scored_of(int first, int n) const { return scores_prompt() ? std::clamp(prompt_tokens() - 1 - first, 0, n) : 0; }
  /// Of its tokens those whose KV is what these tokens alone say, and may be shared as a prefix.
  std::span<const TokenId> exact_tokens() const {
    return std::span(tokens).first(std::min(tokens.size(), static_cast<size_t>(request->reuse.exact_tokens)));
  }
  bool scores_prompt() const { return request->prompt_logprobs >= 0 && sample == 0; }
  bool finished() const { return state == State::finished; }
};

}  // namespace sluice
