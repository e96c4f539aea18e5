#pragma once
// What the experiments on long contexts share: the kit's documents of one length, and how a model does on them.

#include "lab/kv/retention_load.h"

namespace sluice::lab {

enum LongTask : size_t { passkey, needles, passages, recurring, kLongTasks };

struct LongSet {
  int length = 0;
  std::vector<LongDocument> of[kLongTasks];

  /// Five documents and 42 questions.
  static LongSet make(const LongDocuments& kit, int length);
  int asked(LongTask task) const;
  int asked() const;
  /// "4,096 tokens: of 2 · 10 · 20 · 10, perplexity".
  std::string heading() const;
};

struct LongScore {
  int right[kLongTasks] = {};
  std::vector<double> nll;  // of the needles' text
  int peak_slots = 0;

  int answers() const;
  double perplexity() const;
  /// "2 · 10 · 20 · 10, 21.47".
  std::string cell() const;
};

/// One document at a time, with what `options` (of retained()) say is kept.
Result<LongScore> score(Bench& bench, const LongSet& set, EngineOptions options, const KvFormats& kv);

}  // namespace sluice::lab
