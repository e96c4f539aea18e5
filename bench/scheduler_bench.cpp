// What a step's bookkeeping takes: decide, commit and settle with 256 sequences that decode, over a prefix cache that holds
// many prefixes, with and without a queue. The executor makes tokens up, so that nothing else is measured.

#include <benchmark/benchmark.h>

#include "base/clock.h"
#include "base/rng.h"
#include "engine/build_engine.h"

namespace sluice {
namespace {

/// Every token is new, so that no output is found in the cache.
class MadeUp final : public Executor {
 public:
  Ticket submit(const StepPlan& plan) override {
    result_.items.clear();
    for (const PlanItem& item : plan.items) {
      result_.items.push_back({item.seq, item.samples, {}});
      if (item.samples) result_.items.back().token.token = next_++ & 0xffffff;
    }
    return ++ticket_;
  }
  std::optional<StepResult> poll(Ticket) override { return std::move(result_); }

 private:
  StepResult result_;
  TokenId next_ = 0;
  Ticket ticket_ = 0;
};

Request request_of(Rng& rng, int prompt, int max_tokens) {
  Request r;
  for (int i = 0; i < prompt; ++i) r.prompt.push_back(static_cast<TokenId>(rng.below(1 << 30)));
  r.max_tokens = max_tokens;
  r.ignore_eos = true;
  return r;
}

void step(benchmark::State& state, const char* admission) {
  const int running = static_cast<int>(state.range(0)), prefixes = static_cast<int>(state.range(1)), waiting = static_cast<int>(state.range(2));
  constexpr int kSteps = 2000, kPrefix = 64, kPrompt = 256;
  EngineOptions o;
  o.admission_policy = admission;
  o.max_num_seqs = running;
  o.max_num_batched_tokens = 8192;
  o.max_model_len = 8192;
  o.max_waiting = 1 << 20;
  o.kv_blocks = prefixes * kPrefix / o.block_tokens + running * (kPrompt + kSteps + 64) / o.block_tokens;
  MadeUp executor;
  RealClock clock;
  EngineTimes times;
  const auto made = build_engine(o, executor, clock, &times);
  if (!made.ok()) return state.SkipWithError(made.error().message.c_str());
  Engine& engine = **made;
  Rng rng(1);
  const auto ignore = [](const Output&) {};
  for (int i = 0; i < prefixes; ++i) (void)engine.add(request_of(rng, kPrefix, 1), ignore);
  while (engine.step()) {
  }
  for (int i = 0; i < running + waiting; ++i) (void)engine.add(request_of(rng, kPrompt, i < running ? kSteps + 32 : 1), ignore);
  for (int i = 0; i < 24; ++i) engine.step();
  times = {};
  for (auto _ : state) engine.step();
  if (engine.stats().running != running) return state.SkipWithError("some sequences do not run");
  const auto us = [&](Nanos ns) { return benchmark::Counter(static_cast<double>(ns) / 1e3 / static_cast<double>(times.steps)); };
  state.counters["decide_us"] = us(times.decide);
  state.counters["commit_us"] = us(times.commit);
  state.counters["settle_us"] = us(times.settle);
  state.counters["deliver_us"] = us(times.deliver);
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  using namespace sluice;
  for (const char* admission : {"watermark", "exact"})
    for (const auto& [running, prefixes, waiting] : {std::tuple{256, 0, 0}, {256, 10'000, 0}, {256, 100'000, 0}, {256, 10'000, 10'000}, {64, 10'000, 0}})
      benchmark::RegisterBenchmark((std::string("step/") + admission).c_str(), [admission](benchmark::State& s) { step(s, admission); })
          ->ArgNames({"running", "prefixes", "waiting"})->Args({running, prefixes, waiting})->Iterations(1900)->Unit(benchmark::kMicrosecond)->UseRealTime();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
