#pragma once
// The seam of lossy KV retention: of a sequence whose tokens outgrow its cache, which ones stay (docs/adr/0013). Metadata
// and scores only. A policy says which slots it protects, and what the others are worth; the lowest are let go.
//
// When and how many is a pure function of the position, so that the outcome depends on no batch, chunk or preemption.

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sluice {

struct RetentionOptions {
  int budget_tokens = 0;    // most tokens whose KV a sequence holds; 0: by prompt_share
  double prompt_share = 0;  // in (0, 1]: the prompt is computed whole, and from then on so much of it is the budget
  int sinks = 4;            // of sink-window: the first tokens, which stay
  double recent_share = 0;  // of policies that go by scores: how much of the budget the newest have; 0: the policy's own
  int stride_tokens = 0;    // let go of at a time; 0: a sixteenth of the budget
};

/// Below this a budget makes no sense.
inline constexpr int kLeastRetentionBudget = 8;

/// One row's look at the cache of one layer through one query head.
struct RowLook {
  std::span<const float> logits;       // [slots] q . k * scale, the row's own slot last
  std::span<const int32_t> positions;  // [slots] of the tokens that stand there, ascending
  int position = 0;                    // of the row
  int prompt_tokens = 0, max_tokens = 0;
  uint64_t seed = 0;                   // of the request
  int layer = 0, head = 0;             // head: of the queries
};

class KvRetention {
 public:
  explicit KvRetention(const RetentionOptions& options) : options_(options) {}
  virtual ~KvRetention() = default;

  // --- when -------------------------------------------------------------------------------------------------------
  /// False: everything stays.
  virtual bool evicts() const { return true; }
  /// How many tokens have been let go of before the one at `position` is computed; grows with the position.
  int dropped_at(int prompt_tokens, int position) const;
  /// The first position after this one before which more are let go of; kNever where there is none.
  int next_eviction(int prompt_tokens, int position) const;
  /// The most slots that a sequence takes until so many tokens are computed.
  int slots_to_hold(int prompt_tokens, int tokens) const;
  static constexpr int kNever = std::numeric_limits<int>::max();

  // --- what -------------------------------------------------------------------------------------------------------
  /// Rows are rotated by their slot instead of their position; such a policy goes by no scores.
  virtual bool positions_in_cache() const { return false; }
  /// Of `count` slots that stay, how many are the first and how many the last, whatever they are worth.
  struct Protected {
    int first = 0, last = 0;
  };
  virtual Protected protects(int count) const = 0;
  /// Whether observe() is to be told of every row.
  virtual bool wants_scores() const { return false; }
  /// Adds to the scores [slots] what this row gives. Rows come in order, and of each the query heads of a KV head.
  virtual void observe(const RowLook& /*look*/, std::span<float> /*scores*/) const {}
  /// Of a token that so many rows have seen, its own included.
  virtual float worth(float /*score*/, int /*rows*/) const { return 0; }
  /// The `count` slots that one KV head of a layer keeps, ascending. `scores` and `positions` [slots] (empty for those who want none);
  /// `next_position` follows the last one computed. Of equal worth the newer stays.
  void keep(std::span<const float> scores, std::span<const int32_t> positions, int next_position, int slots, int count,
            std::vector<int32_t>& kept) const;

 protected:
  /// options_.recent_share of `count`, or this share.
  int recent(int count, double share) const;
  RetentionOptions options_;

 private:
  struct Schedule {
    int budget, stride, first;  // first: position before which the first are let go of
  };
  Schedule schedule(int prompt_tokens) const;
};

/// scores[i] += softmax(logits)[i], the sum in float32, ascending.
void add_softmax(std::span<const float> logits, std::vector<float>& scratch, std::span<float> scores);

/// One line per technique; `--kv-retention NAME`.
struct RetentionEntry {
  std::string_view name, help;
  std::unique_ptr<KvRetention> (*make)(const RetentionOptions& options);
  bool reads_sinks = false, reads_recent = false;
};
std::span<const RetentionEntry> retention_catalog();

/// The policy that the name and options say; errors name the flag.
Result<std::unique_ptr<KvRetention>> make_retention(std::string_view name, const RetentionOptions& options);

}  // namespace sluice
