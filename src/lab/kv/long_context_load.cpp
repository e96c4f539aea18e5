#include "lab/kv/long_context_load.h"

#include <fmt/ranges.h>

#include <cmath>
#include <numeric>

#include "lab/report.h"

namespace sluice::lab {

LongSet LongSet::make(const LongDocuments& kit, int length) {
  const int tokens = length - 1;  // the engine writes one behind them
  return {length, {{kit.passkey(tokens, 1), kit.passkey(tokens, 2)}, {kit.needles(tokens, 1)}, {kit.passages(tokens, 1)}, {kit.recurring(tokens, 1)}}};
}

int LongSet::asked(LongTask task) const {
  return std::accumulate(of[task].begin(), of[task].end(), 0, [](int n, const LongDocument& d) { return n + static_cast<int>(d.answers.size()); });
}

int LongSet::asked() const { return asked(passkey) + asked(needles) + asked(passages) + asked(recurring); }

std::string LongSet::heading() const {
  return fmt::format("{} tokens: of {} · {} · {} · {}, perplexity", number(length), asked(passkey), asked(needles), asked(passages), asked(recurring));
}

int LongScore::answers() const { return std::accumulate(std::begin(right), std::end(right), 0); }
double LongScore::perplexity() const { return std::exp(mean(nll, 0, nll.size())); }
std::string LongScore::cell() const { return fmt::format("{}, {:.2f}", fmt::join(right, " · "), perplexity()); }

Result<LongScore> score(Bench& bench, const LongSet& set, EngineOptions options, const KvFormats& kv) {
  Load load;
  for (const auto& task : set.of)
    for (const LongDocument& document : task) {
      load.requests.push_back(forced_request(document.tokens, 1));
      load.requests.back().prompt_logprobs = 1;
    }
  options.max_num_seqs = 1;  // what one takes is what is compared
  SLUICE_TRY(const Run run, bench.run(options, load, kv));
  LongScore out;
  out.peak_slots = run.peak_blocks * fitted(options, kv).block_tokens;
  size_t request = 0;
  for (size_t task = 0; task < kLongTasks; ++task)
    for (const LongDocument& document : set.of[task]) {
      if (run.failed() > 0 || !run.scored.contains(request)) return unavailable(fmt::format("a document of {} tokens was not computed", document.tokens.size()));
      const std::vector<float>& logprobs = run.scored.at(request);
      const std::vector<TokenId>& likeliest = run.likeliest.at(request++);
      for (const int place : document.answers) out.right[task] += likeliest[static_cast<size_t>(place - 1)] == document.tokens[static_cast<size_t>(place)];
      if (task == needles)
        for (const int place : document.prose) out.nll.push_back(-static_cast<double>(logprobs[static_cast<size_t>(place - 1)]));
    }
  return out;
}

}  // namespace sluice::lab
