#include "lab/long_context.h"
#include "lab/reuse_quality.h"
#include "lab/workloads.h"

namespace sluice::lab {
namespace {

/// First token of the sequences, before which nothing stands.
constexpr TokenId kStart = 1;

/// Modules of `length` tokens each, in order, then `own` tokens. Module m stands at its place in the schema, `slack` positions of which are
/// another's (a longer member of its union, a parameter left out).
Request modular(const std::vector<TokenId>& text, int modules, int length, int slack, std::span<const TokenId> own) {
  Request request = forced_request({kStart}, 1);
  request.reuse.positions = {0};
  int position = 1;
  for (int m = 0; m < modules; ++m, position += slack) {
    request.reuse.segments.push_back({static_cast<int>(request.prompt.size()), length, 1, 0});
    for (int i = 0; i < length; ++i) {
      request.prompt.push_back(text[static_cast<size_t>(m * length + i)]);
      request.reuse.positions.push_back(position++);
    }
  }
  for (const TokenId token : own) request.prompt.push_back(token), request.reuse.positions.push_back(position++ - slack);
  return request;
}

Result<Finding> run_prompt_cache(const Setting& setting) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  const int modules = 3, own = 12, asked = setting.quick ? 24 : 120;
  const int context = std::min(bench->max_positions() - 1, setting.quick ? 500 : 2000), length = (context - own - asked - 2) / modules / 16 * 16;
  SLUICE_TRY(const std::vector<TokenId> text, written_text(*bench, modules * length + own + asked + 1, 3));
  EngineOptions options = engine_options(context + 1, 4 * context);
  options.prefix_cache = "none";
  EngineOptions caching = options;
  caching.segment_cache = true;
  Finding f;

  // What is new in each request: a piece of the text behind the modules, one token longer each time.
  const auto requests = [&](int count, int of, bool reuse) {
    std::vector<Request> list;
    for (int i = 0; i < count; ++i) {
      list.push_back(modular(text, of, length, 0, std::span(text).subspan(static_cast<size_t>(of * length), static_cast<size_t>(own + i))));
      if (!reuse) list.back().reuse = {};
    }
    return list;
  };
  std::vector<TokenId> next;
  for (int i = 0; i < asked; ++i) next.push_back(text[static_cast<size_t>(modules * length + own + i)]);

  // One module at the start is a prefix.
  SLUICE_TRY(const Distributions plain_one, next_token_distributions(*bench, options, requests(4, 1, false)));
  SLUICE_TRY(const Distributions reused_one, next_token_distributions(*bench, caching, requests(4, 1, true)));
  f.must("one module at the start: every logprob has the bits of plain prefill", plain_one == reused_one);

  EngineStats full_stats, stats, short_stats;
  SLUICE_TRY(const Distributions full, next_token_distributions(*bench, options, requests(asked, modules, false), &full_stats));
  SLUICE_TRY(const Distributions reused, next_token_distributions(*bench, caching, requests(asked, modules, true), &stats));
  const ReuseQuality exact = compare_distributions(full, full, next), quality = compare_distributions(full, reused, next);
  SLUICE_TRY([[maybe_unused]] const Distributions short_modules, next_token_distributions(*bench, caching, requests(asked, 1, true), &short_stats));
  f.must("the rows computed for a request do not depend on how many tokens its modules have", stats.prompt_tokens_computed == short_stats.prompt_tokens_computed,
         fmt::format("{} rows behind modules of {} tokens, {} behind {}", stats.prompt_tokens_computed, modules * length, short_stats.prompt_tokens_computed, length));
  f.must("each module is encoded once", stats.prompt_tokens_prepared == static_cast<uint64_t>(modules * (length + 1)),
         fmt::format("{} rows for {} modules of {} tokens behind the first", stats.prompt_tokens_prepared, modules, length));
  // All modules encoded together, as a scaffold: what is left of the difference is none.
  std::vector<Request> scaffolded = requests(asked, modules, true);
  for (Request& r : scaffolded) r.reuse.segments = {{1, modules * length, 1, 0}};
  SLUICE_TRY(const Distributions together, next_token_distributions(*bench, caching, scaffolded));
  f.must("modules that are encoded together (a scaffold) give full prefill's bits", together == full);
  // Gaps between the modules, as absent ones leave them.
  std::vector<Request> gaps;
  for (int i = 0; i < asked; ++i)
    gaps.push_back(modular(text, modules, length, 5, std::span(text).subspan(static_cast<size_t>(modules * length), static_cast<size_t>(own + i))));
  SLUICE_TRY(const Distributions gapped, next_token_distributions(*bench, caching, gaps));

  const auto rows = [&](const EngineStats& s) { return static_cast<double>(s.prompt_tokens_computed + s.prompt_tokens_prepared) / asked; };
  f.effect = {fmt::format("rows computed for a prompt of {} modules of {} tokens, mean of {}", modules, length, asked), "", rows(full_stats), rows(stats), Better::lower, false};
  f.count("NLL of the text that follows, nats a token", exact.nll, quality.nll);
  f.count("the same with gaps of 5 positions between the modules", exact.nll, compare_distributions(full, gapped, next).nll);
  f.count("KL divergence from full attention, nats", 0, quality.kl);

  // Questions about one of many keys, cut into modules anywhere: an answer stands within one, the question behind them.
  if (const auto kit = LongContextKit::make(setting, *bench); kit.ok()) {
    const std::vector<Question> questions = kit->questions(modules * length + 3, 12, setting.quick ? 24 : 120, 5);
    std::vector<Request> plain, cut;
    for (const Question& q : questions) {
      plain.push_back(forced_request(q.prompt, 1));
      cut.push_back(plain.back());
      for (int m = 0; m < modules; ++m) cut.back().reuse.segments.push_back({1 + m * length, length, 1, 0});
    }
    const auto right = [&](const EngineOptions& o, const std::vector<Request>& list) -> Result<double> {
      SLUICE_TRY(const Run r, bench->run(o, {list, {}}));
      double n = 0;
      for (size_t i = 0; i < list.size(); ++i) n += r.outputs.at({i, 0}).tokens.at(0) == questions[i].answer;
      return n;
    };
    SLUICE_TRY(const double whole, right(options, plain));
    SLUICE_TRY(const double parts, right(caching, cut));
    f.count(fmt::format("of {} questions about one of 12 keys, answered right", questions.size()), whole, parts);
  }

  // Time to first token of the requests after the first, one at a time.
  Load load{requests(8, modules, true), {}}, plain{requests(8, modules, false), {}};
  options.max_num_seqs = caching.max_num_seqs = 1;
  SLUICE_TRY(const Run slow, bench->run(options, plain));
  SLUICE_TRY(const Run fast, bench->run(caching, load));
  SLUICE_TRY(const Run simulated, simulate(caching, load));
  f.must("the simulator counts the same jumps and the same encodings",
         simulated.stats.prompt_tokens_computed == fast.stats.prompt_tokens_computed && simulated.stats.prompt_tokens_prepared == fast.stats.prompt_tokens_prepared &&
             simulated.stats.segment_hits_tokens == fast.stats.segment_hits_tokens,
         fmt::format("{} and {} rows, {} and {} prepared, {} and {} tokens reused", simulated.stats.prompt_tokens_computed, fast.stats.prompt_tokens_computed,
                     simulated.stats.prompt_tokens_prepared, fast.stats.prompt_tokens_prepared, simulated.stats.segment_hits_tokens, fast.stats.segment_hits_tokens));
  const auto turn_ms = [](const Run& r) {
    std::vector<double> ms;
    for (size_t i = 1; i < r.records.size(); ++i)
      ms.push_back(static_cast<double>(r.records[i].token_times.front() - r.records[i - 1].token_times.back()) / 1e6);
    return spread_of(std::move(ms)).median;
  };
  f.count("ms to the first token, median of 7 later requests", turn_ms(slow), turn_ms(fast));
  return f;
}

}  // namespace

extern const Experiment kPromptCache;
const Experiment kPromptCache = {
    .name = "prompt-cache",
    .ids = "V8",
    .group = "kv",
    .technique = "Prompt Cache: modules of a schema are encoded alone at their positions, once, and put together",
    .paper = "Gim et al., Prompt Cache, MLSys 2024",
    .file = "src/sched/segment_progress.cpp",
    .flag = "`--prompt-schema FILE`, and `prompt_cache` in a request",
    .test = "`tests/exactness/segments_test.cpp`, `tests/property`, `tests/server/test_prompt_cache.py`",
    .baseline = "full prefill",
    .workload = "prompts of three modules and a text of their own",
    .holds = "approximate: modules do not see each other; one module at the start, and modules encoded together, have full prefill's bits; rows computed do not depend on the modules' length",
    .run = run_prompt_cache};

}  // namespace sluice::lab
