#include "lab/scheduling/measures.h"
#include "sched/queue/vtc.h"

namespace sluice::lab {
namespace {

/// Two clients that each ask for more than their share, one of them for three times as much, and a light one.
Load three_clients(int n) {
  struct Kind { const char* client; int n; double rate; };
  Load load;
  uint64_t seed = 40;
  for (const Kind& kind : {Kind{"greedy", 3 * n, 9}, Kind{"heavy", n, 3}, Kind{"light", n / 6, 0.5}}) {
    Load own = mixed_lengths(kSimulatedVocab, {.n = kind.n, .prompt_mean = 48, .output_mean = 64, .output_most = 256, .rate = kind.rate, .seed = seed});
    for (Request& r : own.requests) {
      r.client = kind.client;
      r.sampling.seed += seed << 20;
    }
    load = merged(load, own);
    ++seed;
  }
  return load;
}

/// How far either of two clients got ahead of the other in weighted service, in any span in which both had requests that
/// waited. Of a run without preemptions.
double furthest_ahead(const Run& run, const Load& load, const std::string& a, const std::string& b) {
  struct Change { Nanos at; int waiting; double service; bool of_a; };
  std::vector<Change> changes;
  for (size_t i = 0; i < load.requests.size(); ++i) {
    const Request& r = load.requests[i];
    if (r.client != a && r.client != b) continue;
    const bool of_a = r.client == a;
    changes.push_back({load.arrivals[i], 1, 0, of_a});
    changes.push_back({load.arrivals[i] + run.waited[i], -1, Vtc::kInputWeight * static_cast<double>(r.prompt.size()), of_a});
    for (const Nanos at : run.records[i].token_times) changes.push_back({at, 0, Vtc::kOutputWeight, of_a});
  }
  std::ranges::stable_sort(changes, {}, &Change::at);
  int waiting_a = 0, waiting_b = 0;
  double ahead = 0, low = 0, high = 0, furthest = 0;
  for (const Change& c : changes) {
    (c.of_a ? waiting_a : waiting_b) += c.waiting;
    ahead += c.of_a ? c.service : -c.service;
    if (waiting_a == 0 || waiting_b == 0) low = high = ahead;
    low = std::min(low, ahead);
    high = std::max(high, ahead);
    furthest = std::max(furthest, high - low);
  }
  return furthest;
}

Result<Finding> run_vtc(const Setting& setting) {
  const Load load = three_clients(setting.quick ? 60 : 600);
  constexpr int kSeats = 8;
  EngineOptions options = engine_options(1024, 16 * 1024);
  options.max_num_seqs = kSeats;
  SLUICE_TRY(const Run fcfs, simulate(options, load));
  options.scheduling_policy = "vtc";
  SLUICE_TRY(const Run vtc, simulate(options, load));

  Finding f;
  std::string why;
  const bool same = same_outputs(fcfs, vtc, &why);
  f.must("the same outputs in any order", same && vtc.stats.preemptions == 0, why);
  size_t longest_input = 0, longest = 0;
  for (const Request& r : load.requests) {
    longest_input = std::max(longest_input, r.prompt.size());
    longest = std::max(longest, r.prompt.size() + static_cast<size_t>(r.max_tokens));
  }
  const double bound = 2 * std::max(Vtc::kInputWeight * static_cast<double>(longest_input), Vtc::kOutputWeight * kSeats * static_cast<double>(longest));
  const double ahead = furthest_ahead(vtc, load, "greedy", "heavy");
  f.must("neither of two clients that always wait gets further ahead than 2 max(w_p * input, w_q * batch)", ahead <= bound,
         fmt::format("{:.0f} of {:.0f}", ahead, bound));
  f.must("work-conserving: all is served in the time that fcfs takes, within 3 %", vtc.report.duration_s <= 1.03 * fcfs.report.duration_s,
         fmt::format("{:.1f} and {:.1f} s", fcfs.report.duration_s, vtc.report.duration_s));
  const auto light = [](const Request& r) { return r.client == "light"; };
  f.effect = {"simulated TTFT of the light client, p99", "ms", ttft_ms(fcfs, load, light).p99, ttft_ms(vtc, load, light).p99, Better::lower, false};
  f.count("furthest that a client got ahead, in weighted tokens", furthest_ahead(fcfs, load, "greedy", "heavy"), ahead);
  return f;
}

}  // namespace

extern const Experiment kVtc;
const Experiment kVtc = {
    .name = "vtc",
    .ids = "H4",
    .group = "scheduling",
    .technique = "Virtual token counters: fair shares among clients",
    .paper = "Sheng et al., Fairness in serving LLMs, OSDI 2024",
    .file = "src/sched/queue/vtc.cpp",
    .flag = "`--scheduling-policy vtc --client-weights a=2,b=1`",
    .test = "`tests/property/fairness_test.cpp`, `src/sched/queue/queue_test.cpp`",
    .baseline = "first come, first served",
    .workload = "simulated, 8 seats; a client asks for three times, another for all of what there is, a third for little",
    .holds = "lossless; the paper's bound at all times; work-conserving; idling earns no credit",
    .run = run_vtc};

}  // namespace sluice::lab
