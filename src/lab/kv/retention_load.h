#pragma once
// What the experiments on KV retention share: how well a text is predicted, and questions answered, by a sequence that
// keeps a part of its tokens.

#include "lab/long_context.h"
#include "lab/workloads.h"

namespace sluice::lab {

/// Contexts of `context` tokens, of which `policy` keeps `budget`; "none" keeps all, whatever the budget. Everything else is the default.
EngineOptions retained(std::string_view policy, int budget, int context, int sinks = RetentionOptions{}.sinks);

/// Text that the model writes, in several lines at once, each from another beginning.
Result<std::vector<TokenId>> written_text(Bench& bench, int tokens);

/// -ln p of every token of the text but the first, as one sequence.
struct Stream {
  std::vector<double> nll;
  Run run;
};
Result<Stream> stream(Bench& bench, const EngineOptions& options, const std::vector<TokenId>& text, const KvFormat& kv = kKvF32);

/// Of the tokens [from, to) of a stream.
double mean(const std::vector<double>& nll, size_t from, size_t to);

/// Which of the questions the model answers right, greedily, each as a sequence of its own.
Result<std::vector<bool>> answers(Bench& bench, const std::vector<Question>& questions, const EngineOptions& options);

}  // namespace sluice::lab
