#pragma once
// Beam search: the w continuations of a prompt whose summed log-probabilities are highest, on blocks that they share
// and copy only where they part. After a step of all beams, the best 2 w of their continuations are looked at in order:
// one that ends is moved out to the finished ones if it is among the best w, the others go on until there are w. A
// finished one scores sum / length^length_penalty, the length counting its output tokens. The search ends when w are
// finished and the best sum that goes on, over its present length, is no better than the worst of them; or with
// max_tokens. Source: Wu et al., Google's Neural Machine Translation System, 2016, section 7 (length normalisation);
// the order of moves and the end are those of Hugging Face transformers with early_stopping=False. Blocks:
// PagedAttention (Kwon et al., SOSP 2023), section 4.4.

#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "sched/policies.h"

namespace sluice {

class BeamSearch final : public Branching {
 public:
  explicit BeamSearch(int max_model_len) : max_model_len_(max_model_len) {}

  std::vector<Fork> after(const Sequence& seq, const SampledToken& token) override;
  bool holds(SeqId id) const override;
  std::vector<Regroup> regroup() override;
  void on(const Event& event) override;

 private:
  struct Beam {
    const Request* group = nullptr;
    int sample = 0;
    double sum = 0;                    // of the logprobs of its tokens
    std::vector<SampledToken> tokens;  // its output
    std::optional<SampledToken> next;  // with its likeliest continuations; nothing while it computes
  };
  struct Group {
    std::shared_ptr<const Request> request;
    int prompt_tokens = 0;
    std::vector<SeqId> members;
    std::vector<Hypothesis> finished;  // best first, at most w
  };
  struct Continuation {
    SeqId parent;
    TokenLogprob token;
    double sum;
  };

  std::vector<Continuation> best_continuations(const Group& group) const;
  Regroup choose(Group& group);
  void finish(Group& group, const Beam& parent, const Continuation& last, FinishReason reason) const;

  int max_model_len_;
  std::map<SeqId, Beam> beams_;
  std::map<const Request*, Group> groups_;
  std::map<SeqId, std::deque<Beam>> unborn_;  // by parent: children that were asked for, in order
};

}  // namespace sluice
