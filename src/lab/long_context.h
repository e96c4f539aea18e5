#pragma once
// The long-context kit: questions whose answers stand far back, and text to be predicted. What every approximate KV
// format and every eviction reports on.

#include "lab/run.h"
#include "text/tokenizer/tokenizer.h"

namespace sluice::lab {

/// A prompt, and the token that answers it.
struct Question {
  std::vector<TokenId> prompt;
  TokenId answer = 0;
};

class LongContextKit {
 public:
  /// Has the bench write the prose that everything is hidden in. An error (unsupported) names what the model lacks: two-digit numbers and
  /// " key" as single tokens.
  static Result<LongContextKit> make(const Setting& setting, Bench& bench);

  /// "key 48 73;" `pairs` times in prose, then "key 48": after Mohtashami & Jaggi's passkey (2023) with many keys, as
  /// models/sluice-tiny-2m was trained on. Each prompt has exactly `length` tokens.
  /// With `at` the pair that is asked for stands there instead, as often as there are places; the others give way.
  std::vector<Question> questions(int length, int pairs, int count, uint64_t seed, std::span<const int> at = {}) const;
  /// Prose of `length` tokens.
  std::vector<TokenId> text(int length) const;

 private:
  std::vector<TokenId> prose_, numbers_, start_;
  TokenId key_ = 0, end_ = 0;
};

/// How many the model answers right, greedily, each alone.
Result<int> answered(Bench& bench, const std::vector<Question>& questions, const KvFormat& kv);
/// -ln p of every token of the text but the first.
Result<std::vector<double>> text_nll(Bench& bench, const std::vector<TokenId>& text, const KvFormat& kv);

}  // namespace sluice::lab
