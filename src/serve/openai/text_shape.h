#pragma once
// The tokens of a text, and of a query with a document, in the shape that a model was trained on; cut where that was asked for.

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/encoder_queue.h"
#include "text/tokenizer/tokenizer.h"

namespace sluice {

/// How a reranker reads a query and a document.
struct PairStyle {
  /// Encoders whose tokenizer does not say: the tokens around a text, with the last ones so many times between the two: [CLS] query [SEP]
  /// document [SEP], <s> query </s></s> document </s>. The second is of type 1.
  int separators = 1;
  /// Causal models: a prompt with {query}, {document} and {instruction}, which is asked "yes" or "no"; empty: an encoder.
  std::string prompt;
};

/// The prompt and the instruction that Qwen3-Reranker was trained with (Zhang et al. 2025, "Qwen3 Embedding").
extern const std::string_view kRerankPrompt, kRerankInstruction;

class TextShape {
 public:
  TextShape(const Tokenizer& tokenizer, PairStyle style);

  /// `most`: tokens; 0: no limit. What is cut is the end of the text, before the special tokens.
  QueuedText single(std::string_view text, bool add_special, int most) const;
  /// The document is cut; an error where the query leaves no room for any of it.
  Result<QueuedText> pair(std::string_view query, std::string_view document, std::string_view instruction, int most) const;

 private:
  std::vector<TokenId> plain(std::string_view text) const { return tokenizer_.encode(text, {.add_special = false}); }

  const Tokenizer& tokenizer_;
  const PairStyle style_;
  std::vector<TokenId> prefix_, suffix_;  // around a text
};

}  // namespace sluice
