#include <algorithm>
#include <cmath>

#include "lab/kv/retention_load.h"

namespace sluice::lab {
namespace {

/// How a policy did at one budget: the kit's questions by where the fact stood, and text.
struct Score {
  int early = 0, late = 0;  // answered right
  double perplexity = 0;
};

/// The kit, and which of its questions ask about a late fact: one of the second half, but none that a window would still hold.
struct Kit {
  std::vector<Question> questions;
  std::vector<bool> late;
  std::vector<TokenId> text;
  int length = 0, early_count = 0, late_count = 0;

  static Result<Kit> make(const Setting& setting, Bench& bench, int budget_divisor) {
    SLUICE_TRY(const LongContextKit kit, LongContextKit::make(setting, bench));
    Kit out;
    out.length = std::min(bench.max_positions() - 48, 1000);
    const int window = out.length / budget_divisor, wanted = setting.quick ? 24 : 200;
    for (uint64_t seed = 1; out.early_count < wanted || out.late_count < wanted; ++seed)
      for (Question& q : kit.questions(out.length, 20, 8, seed)) {
        const TokenId asked = q.prompt.back(), key = q.prompt[q.prompt.size() - 2];
        int fact = 0;
        while (q.prompt[static_cast<size_t>(fact)] != key || q.prompt[static_cast<size_t>(fact) + 1] != asked) ++fact;
        if (fact > out.length - window) continue;
        const bool late = fact > out.length / 2;
        int& count = late ? out.late_count : out.early_count;
        if (count == wanted) continue;
        ++count;
        out.late.push_back(late);
        out.questions.push_back(std::move(q));
      }
    SLUICE_TRY(out.text, written_text(bench, std::min(bench.max_positions() - 8, 2000)));
    return out;
  }

  Result<Score> ask(Bench& bench, std::string_view policy, int budget, int sinks = RetentionOptions{}.sinks) const {
    const EngineOptions options = retained(policy, budget, bench.max_positions(), sinks);
    SLUICE_TRY(const std::vector<bool> right, answers(bench, questions, options));
    Score score;
    for (size_t i = 0; i < right.size(); ++i) (late[i] ? score.late : score.early) += right[i];
    SLUICE_TRY(const Stream text_stream, stream(bench, options, text));
    score.perplexity = std::exp(mean(text_stream.nll, 0, text_stream.nll.size()));
    return score;
  }
};

/// Runs baseline and technique at a fifth of the length, which is what H2O reports, and says how each did.
Result<Finding> compare(const Setting& setting, std::string_view baseline, std::string_view technique, bool late_only) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  Finding f;
  constexpr int kDivisor = 5;
  auto kit = Kit::make(setting, *bench, kDivisor);
  if (!kit.ok()) {
    f.absent(fmt::format("{}, so questions of the kit's form mean nothing to it (0 asked)", kit.error().message));
    return f;
  }
  const int budget = kit->length / kDivisor;
  const bool by_window = baseline == "sink-window";
  SLUICE_TRY(const Score full, kit->ask(*bench, "none", 0));
  SLUICE_TRY(const Score base, kit->ask(*bench, baseline, budget, by_window ? 0 : RetentionOptions{}.sinks));
  SLUICE_TRY(const Score score, kit->ask(*bench, technique, budget));
  const int count = static_cast<int>(kit->questions.size());
  const auto right = [&](const Score& s) { return late_only ? s.late : s.early + s.late; };

  // What a policy must do whatever the model: a budget for everything changes nothing, and the same budget twice gives the same.
  SLUICE_TRY(const Score everything, kit->ask(*bench, technique, bench->max_positions()));
  f.must("a budget for the whole context is exact", everything.early == full.early && everything.late == full.late && everything.perplexity == full.perplexity,
         fmt::format("{} answered, perplexity {:.4f}", everything.early + everything.late, everything.perplexity));
  SLUICE_TRY(const Score again, kit->ask(*bench, technique, budget));
  f.must("within the policy, equal from run to run", again.perplexity == score.perplexity && again.early == score.early && again.late == score.late);

  f.effect = {fmt::format("{} of {} answered right with {} of {} slots", late_only ? "late facts" : "facts", late_only ? kit->late_count : count, budget, kit->length),
              "", static_cast<double>(right(base)), static_cast<double>(right(score)), Better::higher, false};
  if (right(full) * 2 < (late_only ? kit->late_count : count))
    f.absent(fmt::format("with its full cache the model answers {} of {} questions", full.early + full.late, count));
  else if (right(score) <= right(base))
    f.absent(fmt::format("{} answers {} of {}, {} {} at equal bytes: this model gives a fact no attention that would mark it before it is asked for", technique, right(score),
                         late_only ? kit->late_count : count, baseline, right(base)));
  for (const auto& [what, of] : {std::pair{"early facts answered", &Score::early}, {"late facts answered", &Score::late}}) {
    f.count(fmt::format("{}, full cache and {}", what, technique), full.*of, score.*of);
    f.count(fmt::format("{}, {} and {}", what, by_window ? "window alone" : baseline, technique), base.*of, score.*of);
  }
  f.count(fmt::format("perplexity of text, full cache and {}", technique), full.perplexity, score.perplexity);
  f.count(fmt::format("perplexity of text, {} and {}", by_window ? "window alone" : baseline, technique), base.perplexity, score.perplexity);
  return f;
}

constexpr std::string_view kWorkload = "48 questions about one of 20 keys in 1,000 tokens, and 2,000 tokens of text, with 200 slots";
constexpr std::string_view kHolds = "approximate; exact with a budget for the whole context; the same bits within the policy";
constexpr std::string_view kTest = "`src/kv/retention/kv_retention_test.cpp`, `src/exec/kv_evictor_test.cpp`, `tests/exactness`";

}  // namespace

extern const Experiment kHeavyHitters, kAveragedScores, kKeyformer;
const Experiment kHeavyHitters = {
    .name = "h2o",
    .ids = "W2 W7",
    .group = "kv",
    .technique = "H2O: the tokens that have got most attention, and the newest",
    .paper = "Zhang et al., NeurIPS 2023",
    .file = "src/kv/retention/h2o.h",
    .flag = "`--kv-retention h2o --kv-retention-budget N`",
    .test = kTest,
    .baseline = "a window of as many slots",
    .workload = kWorkload,
    .holds = kHolds,
    .run = [](const Setting& setting) { return compare(setting, "sink-window", "h2o", false); }};
const Experiment kAveragedScores = {
    .name = "averaged-scores",
    .ids = "W3",
    .group = "kv",
    .technique = "Averaged scores: attention per row that has seen a token",
    .paper = "ablation of H2O",
    .file = "src/kv/retention/averaged.h",
    .flag = "`--kv-retention averaged --kv-retention-budget N`",
    .test = kTest,
    .baseline = "H2O's sums, the same slots",
    .workload = kWorkload,
    .holds = kHolds,
    .run = [](const Setting& setting) { return compare(setting, "h2o", "averaged", true); }};
const Experiment kKeyformer = {
    .name = "keyformer",
    .ids = "W4",
    .group = "kv",
    .technique = "Keyformer: scores with Gumbel noise and a rising temperature",
    .paper = "Adnan et al., MLSys 2024",
    .file = "src/kv/retention/keyformer.h",
    .flag = "`--kv-retention keyformer --kv-retention-share S`",
    .test = kTest,
    .baseline = "H2O, the same slots",
    .workload = kWorkload,
    .holds = kHolds,
    .run = [](const Setting& setting) { return compare(setting, "h2o", "keyformer", false); }};

}  // namespace sluice::lab
