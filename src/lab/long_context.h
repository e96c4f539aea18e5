#pragma once
// The long-context kit: questions whose answers stand far back, and text to be predicted. What every approximate KV
// format and every eviction reports on.

#include "base/rng.h"
#include "lab/run.h"
#include "text/tokenizer/tokenizer.h"

namespace sluice::lab {

/// "key 48 73;" is how facts are told, after Mohtashami & Jaggi's passkey (2023), as models/sluice-tiny-2m was trained on; " key 48" asks.
struct FactTokens {
  std::vector<TokenId> start;    // what the tokenizer puts before a text
  std::vector<TokenId> numbers;  // " 00" to " 99"
  TokenId key = 0, end = 0;

  /// An error (unsupported) names what the tokenizer lacks as a single token.
  static Result<FactTokens> of(const Tokenizer& tokenizer);
};

/// Of a model: a directory or a GGUF.
Result<std::unique_ptr<Tokenizer>> tokenizer_of(const std::string& model);

/// A prompt, and the token that answers it.
struct Question {
  std::vector<TokenId> prompt;
  TokenId answer = 0;
};

/// Contexts of a thousand or two, in prose that the model writes.
class LongContextKit {
 public:
  static Result<LongContextKit> make(const Setting& setting, Bench& bench);

  /// A fact for each of `pairs` keys, strewn in prose, then the question for one. Each prompt has exactly `length` tokens.
  /// With `at` the fact that is asked for stands there instead, as often as there are places; the others give way.
  std::vector<Question> questions(int length, int pairs, int count, uint64_t seed, std::span<const int> at = {}) const;

 private:
  FactTokens facts_;
  std::vector<TokenId> prose_;
};

/// A document in which facts are told, and all asked for at its end. One pass over it scores everything.
struct LongDocument {
  std::vector<TokenId> tokens;
  std::vector<int> answers;  // their places in it, each behind its question
  std::vector<int> prose;    // places of what perplexity is of: neither facts nor what follows one
};

/// Contexts of any length, in a text that the model was not trained on.
class LongDocuments {
 public:
  static Result<LongDocuments> make(const Setting& setting, FactTokens facts);

  // Each has exactly `length` tokens, at least kLeast; another seed, another document.
  static constexpr int kLeast = 1000;
  /// One key in a few words that are repeated all along (Mohtashami & Jaggi 2023).
  LongDocument passkey(int length, uint64_t seed) const;
  /// Ten keys at even depths of the text as it is (Kamradt 2023).
  LongDocument needles(int length, uint64_t seed) const;
  /// A hundred passages from anywhere in the text, each begun by its key; twenty are asked for (after Liu et al., Lost in the Middle, 2023).
  LongDocument passages(int length, uint64_t seed) const;
  /// Ten keys, each told eight times in the first three fifths of the text: what heavy hitters can be known by before they are asked for.
  LongDocument recurring(int length, uint64_t seed) const;

 private:
  /// Before each of the places (ascending) of the filler a fact, of as many keys in turn, then `asked` questions with their answers.
  LongDocument told(std::span<const TokenId> filler, const std::vector<size_t>& places, size_t keys, size_t asked, Rng& rng) const;
  /// So many tokens of the text in a row.
  std::vector<TokenId> run_of_text(size_t tokens, Rng& rng) const;
  size_t filler_tokens(int length, size_t told, size_t asked) const;

  FactTokens facts_;
  std::vector<TokenId> text_;
};

}  // namespace sluice::lab
