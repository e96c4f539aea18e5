#include <utility>

#include "lab/scheduling/measures.h"

namespace sluice::lab {
namespace {

bool is_short(const Request& r) { return r.max_tokens <= 32; }

/// Heavy-tailed answers: nineteen of twenty are short, the twentieth has most of the tokens. `only_short` leaves that one out.
Load heavy_tail(int64_t vocab, int n, double rate, int longest, bool only_short) {
  Rng rng(31);
  Load load;
  double at_s = 0;
  for (int i = 0; i < n; ++i) {
    at_s += rng.next_exponential(rate);
    const bool is_long = rng.below(20) == 0;
    const int prompt = static_cast<int>(rng.between(8, 24));
    const int output = is_long ? static_cast<int>(rng.between(longest / 2, longest)) : static_cast<int>(rng.between(4, 32));
    Request r = forced_request(random_tokens(rng, vocab, prompt), output, static_cast<uint64_t>(i));
    if (is_long && only_short) continue;
    load.requests.push_back(std::move(r));
    load.arrivals.push_back(static_cast<Nanos>(at_s * 1e9));
  }
  return load;
}

/// What a request that was displaced waits at a time.
double longest_gap_ms(const Run& run) {
  double longest = 0;
  for (const RequestRecord& r : run.records)
    for (size_t i = 1; i < r.token_times.size(); ++i)
      longest = std::max(longest, static_cast<double>(r.token_times[i] - r.token_times[i - 1]) / kMs);
  return longest;
}

Result<Finding> run_mlfq(const Setting& setting) {
  const int n = setting.quick ? 400 : 4000;
  const Load load = heavy_tail(kSimulatedVocab, n, 6.5, 1000, false), shorts = heavy_tail(kSimulatedVocab, n, 6.5, 1000, true);
  EngineOptions options = engine_options(2048, 32 * 1024);
  options.max_num_seqs = 4;
  SLUICE_TRY(const Run fcfs, simulate(options, load));
  options.scheduling_policy = "mlfq";
  SLUICE_TRY(const Run mlfq, simulate(options, load));
  SLUICE_TRY(const Run mlfq_shorts, simulate(options, shorts));

  Finding f;
  std::string why;
  const bool same = same_outputs(fcfs, mlfq, &why);
  f.must("the same outputs as under fcfs, through preemptions", same && mlfq.stats.preemptions > 0,
         fmt::format("{}; {} preemptions", why, mlfq.stats.preemptions));
  const double simulated_fcfs = e2e_ms(fcfs, load).mean, simulated_mlfq = e2e_ms(mlfq, load).mean;
  f.must("mean latency at least 1.5 times lower in the simulator", simulated_fcfs >= 1.5 * simulated_mlfq, fmt::format("{:.2f} times", simulated_fcfs / simulated_mlfq));
  f.count("simulated latency (E2EL), mean, ms", simulated_fcfs, simulated_mlfq);
  const double ttft = ttft_ms(mlfq, load, is_short).p99, alone = ttft_ms(mlfq_shorts, shorts, is_short).p99;
  const double shared_step = static_cast<double>(mlfq.longest_step) / kMs;
  f.must("a short request's first token comes within an iteration of when it would without the long ones",
         ttft <= alone + shared_step, fmt::format("p99 {:.1f} ms, {:.1f} alone, an iteration of {:.1f}", ttft, alone, shared_step));
  constexpr double kAgingMs = 2000;
  options.aging_ms = kAgingMs;
  SLUICE_TRY(const Run aging, simulate(options, load));
  f.must("no request stands still for longer than its aging and a turn of those at the top",
         longest_gap_ms(aging) <= kAgingMs + 50 * shared_step, fmt::format("{:.0f} ms", longest_gap_ms(aging)));
  f.count("TTFT of short requests, p99, ms", ttft_ms(fcfs, load, is_short).p99, ttft);
  f.count("preemptions", 0, static_cast<double>(mlfq.stats.preemptions));
  f.count("tokens computed again", 0, static_cast<double>(mlfq.stats.tokens_recomputed));
  f.count("longest gap between two tokens of a request, ms: aging 10 s, 2 s", longest_gap_ms(mlfq), longest_gap_ms(aging));

  // The same on this machine: a model, the real clock, arrivals at a share of what it serves when all come at once.
  constexpr double kShare = 0.9;
  SLUICE_TRY(const auto bench, Bench::open(setting));
  const int longest = std::min(1000, bench->max_positions() - 32), n_real = setting.quick ? 1200 : 10000;
  EngineOptions here = engine_options(longest + 32, 16 * (longest + 32));
  here.max_num_seqs = 4;
  Load real = heavy_tail(bench->vocab(), n_real, 1, longest, false);
  const std::vector<Nanos> one_a_second = std::exchange(real.arrivals, {});
  SLUICE_TRY(const Run warm_up, bench->run(here, real));
  SLUICE_TRY(const Run at_once, bench->run(here, real));
  const double rate = kShare * n_real / std::min(warm_up.report.duration_s, at_once.report.duration_s);
  for (const Nanos t : one_a_second) real.arrivals.push_back(static_cast<Nanos>(static_cast<double>(t) / rate));
  SLUICE_TRY(const Run real_fcfs, bench->run(here, real));
  here.scheduling_policy = "mlfq";
  SLUICE_TRY(const Run real_mlfq, bench->run(here, real));
  const bool same_bits = same_outputs(real_fcfs, real_mlfq, &why) && same_outputs(at_once, real_mlfq, &why);
  f.must("the same tokens and logprob bits on the model", same_bits, why);
  f.effect = {fmt::format("latency (E2EL) on the engine, mean, at {:.0f} % of what this machine serves", 100 * kShare), "ms", e2e_ms(real_fcfs, real).mean,
              e2e_ms(real_mlfq, real).mean, Better::lower, true};
  f.count("latency on the engine, p99: the long ones pay, ms", e2e_ms(real_fcfs, real).p99, e2e_ms(real_mlfq, real).p99);
  f.count("preemptions on the engine", static_cast<double>(real_fcfs.stats.preemptions), static_cast<double>(real_mlfq.stats.preemptions));
  return f;
}

}  // namespace

extern const Experiment kMlfq;
const Experiment kMlfq = {
    .name = "mlfq",
    .ids = "H3",
    .group = "scheduling",
    .technique = "Skip-join multi-level feedback queue",
    .paper = "Wu et al., FastServe, 2023",
    .file = "src/sched/queue/mlfq.cpp",
    .flag = "`--scheduling-policy mlfq --aging-ms N`",
    .test = "`tests/property`, `src/sched/queue/mlfq_test.cpp`",
    .baseline = "first come, first served",
    .workload = "4 seats, on a model and simulated; nineteen of twenty answers are short, the twentieth has most of the tokens",
    .holds = "lossless; mean latency at least 1.5 times lower in the simulator, and on the engine (timed: 2.4 to 2.6 times in six runs on an idle machine); short requests do not feel the long ones; aging ends starvation",
    .run = run_mlfq};

}  // namespace sluice::lab
