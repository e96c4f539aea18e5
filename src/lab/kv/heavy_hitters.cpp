#include <algorithm>
#include <cmath>

#include "lab/kv/retention_load.h"

namespace sluice::lab {
namespace {

/// A text of 1,000 tokens with 20 facts, one of which it comes back to before it is asked for.
struct Shape {
  int first, every, last;  // places of that one
  std::vector<int> places() const {
    std::vector<int> at;
    for (int p = first; p <= last; p += every) at.push_back(p);
    return at;
  }
};
constexpr Shape kOften{50, 80, 610}, kSeldom{50, 150, 500}, kLate{700, 20, 760};
constexpr int kLength = 1000, kBudget = kLength / 5;  // the share that H2O reports

/// How a policy did.
struct Score {
  int recurring = 0, once = 0;  // answered right: a fact that the text comes back to, one that it tells once
  double perplexity = 0, narrow = 0;  // of text, with kBudget slots and with 24
};

struct Kit {
  std::vector<Question> recurring, once;
  std::vector<TokenId> text;

  static Result<Kit> make(const Setting& setting, Bench& bench, const Shape& shape) {
    SLUICE_TRY(const LongContextKit kit, LongContextKit::make(setting, bench));
    if (bench.max_positions() < kLength + 48) return unsupported(fmt::format("the model has {} positions, fewer than {}", bench.max_positions(), kLength + 48));
    const int count = setting.quick ? 24 : 200;
    Kit out{kit.questions(kLength, 20, count, 1, shape.places()), kit.questions(kLength, 20, count, 2), {}};
    SLUICE_TRY(out.text, written_text(bench, std::min(bench.max_positions() - 8, 2000)));
    return out;
  }

  Result<Score> ask(Bench& bench, std::string_view policy, int sinks = RetentionOptions{}.sinks) const {
    const int context = bench.max_positions();
    Score score;
    for (const auto& [right, questions] : {std::pair{&Score::recurring, &recurring}, {&Score::once, &once}}) {
      SLUICE_TRY(const std::vector<bool> answered, answers(bench, *questions, retained(policy, kBudget, context, sinks)));
      score.*right = static_cast<int>(std::ranges::count(answered, true));
    }
    for (const auto& [perplexity, budget] : {std::pair{&Score::perplexity, kBudget}, {&Score::narrow, 24}}) {
      SLUICE_TRY(const Stream of_text, stream(bench, retained(policy, budget, context, sinks), text));
      score.*perplexity = std::exp(mean(of_text.nll, 0, of_text.nll.size()));
    }
    return score;
  }
};

Result<Finding> compare(const Setting& setting, std::string_view baseline, std::string_view technique, const Shape& shape) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  Finding f;
  auto kit = Kit::make(setting, *bench, shape);
  if (!kit.ok()) {
    f.absent(fmt::format("{}, so questions of the kit's form mean nothing to it (0 asked)", kit.error().message));
    return f;
  }
  // What holds on any model: a budget for everything is no approximation.
  const std::vector<TokenId> some(kit->text.begin(), kit->text.begin() + 500);
  SLUICE_TRY(const Stream all, stream(*bench, retained("none", 0, 512), some));
  SLUICE_TRY(const Stream everything, stream(*bench, retained(technique, 512, 512), some));
  f.must("a budget for the whole context is exact", all.nll == everything.nll, fmt::format("{} logprobs", all.nll.size()));

  const bool by_window = baseline == "sink-window";
  const std::string named = by_window ? "window alone" : std::string(baseline);
  SLUICE_TRY(const Score full, kit->ask(*bench, "none"));
  SLUICE_TRY(const Score base, kit->ask(*bench, baseline, by_window ? 0 : RetentionOptions{}.sinks));
  SLUICE_TRY(const Score score, kit->ask(*bench, technique));
  const int count = static_cast<int>(kit->recurring.size());
  f.effect = {fmt::format("facts lost of {}, with {} of {} slots, which the text comes back to up to token {}", count, kBudget, kLength, shape.last), "",
              static_cast<double>(count - base.recurring), static_cast<double>(count - score.recurring), Better::lower, false};
  if (full.recurring * 2 < count)
    f.absent(fmt::format("with its full cache the model answers {} of {}", full.recurring, count));
  else if (score.recurring < base.recurring + count / 8)
    f.absent(fmt::format("{} answers {} of {}, {} {}: no more than chance apart", technique, score.recurring, count, named, base.recurring));
  f.count(fmt::format("those, full cache and {}", technique), full.recurring, score.recurring);
  f.count(fmt::format("facts told once, full cache and {}", technique), full.once, score.once);
  f.count(fmt::format("facts told once, {} and {}", named, technique), base.once, score.once);
  f.count(fmt::format("perplexity of text with {} slots, full cache and {}", kBudget, technique), full.perplexity, score.perplexity);
  f.count(fmt::format("the same, {} and {}", named, technique), base.perplexity, score.perplexity);
  f.count(fmt::format("with 24 slots, {} and {}", named, technique), base.narrow, score.narrow);
  return f;
}

constexpr std::string_view kHolds = "approximate; exact with a budget for the whole context; what is told once before it is asked for is lost";
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
    .workload = "24 questions about one of 20 facts in 1,000 tokens, eight times told in the first 614; the same told once; 2,000 tokens of text; 200 slots",
    .holds = kHolds,
    .run = [](const Setting& setting) { return compare(setting, "sink-window", "h2o", kOften); }};
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
    .workload = "24 questions about one of 20 facts in 1,000 tokens, four times told between token 700 and 764; 200 slots",
    .holds = kHolds,
    .run = [](const Setting& setting) { return compare(setting, "h2o", "averaged", kLate); }};
const Experiment kKeyformer = {
    .name = "keyformer",
    .ids = "W4",
    .group = "kv",
    .technique = "Keyformer: scores with Gumbel noise and a rising temperature",
    .paper = "Adnan et al., MLSys 2024",
    .file = "src/kv/retention/keyformer.h",
    .flag = "`--kv-retention keyformer --kv-retention-budget N`, `--kv-retention-share S`",
    .test = kTest,
    .baseline = "H2O, the same slots",
    .workload = "as H2O's, but the fact is told four times in the first 504 tokens",
    .holds = kHolds,
    .run = [](const Setting& setting) { return compare(setting, "h2o", "keyformer", kSeldom); }};

}  // namespace sluice::lab
