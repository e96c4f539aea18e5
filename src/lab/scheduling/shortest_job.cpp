#include <chrono>
#include <filesystem>

#include "lab/scheduling/measures.h"
#include "sched/length/buckets.h"
#include "sim/sim_executor.h"
#include "sim/trace.h"

namespace sluice::lab {
namespace {

constexpr int kMostTokens = 1024;

/// Three applications, with short, middling and long answers; exponential lengths, known to nobody in advance.
Load three_clients(int n, double rate) {
  const std::pair<const char*, int> clients[] = {{"chat", 16}, {"mail", 96}, {"report", 400}};
  Load load;
  for (uint64_t c = 0; c < std::size(clients); ++c) {
    Load own = mixed_lengths(kSimulatedVocab, {.n = n, .prompt_mean = 32, .output_mean = clients[c].second,
                                               .output_most = kMostTokens - 1, .rate = rate / 3, .seed = 20 + c});
    for (Request& r : own.requests) {
      r.client = clients[c].first;
      r.sampling.seed += c << 20;
    }
    load = merged(load, own);
  }
  return load;
}

/// The same lengths, but the requests end by a stop token of their own, and max_tokens is what `claim` says of the length.
template <class Claim>
Load ending_by_themselves(Load load, Claim claim) {
  for (Request& r : load.requests) {
    r.stop_token_ids = {SimExecutor::token_at(r, 0, r.prompt.size() + static_cast<size_t>(r.max_tokens) - 1)};
    r.max_tokens = claim(r.max_tokens);
  }
  return load;
}

Result<Run> serve(const char* policy, const char* predictor, const Load& load) {
  EngineOptions options = engine_options(2048, 64 * 1024);
  options.max_num_seqs = 8;
  options.scheduling_policy = policy;
  options.length_predictor = predictor;
  return simulate(options, load);
}

Result<Finding> run_sjf(const Setting& setting) {
  const Load known = three_clients(setting.quick ? 100 : 1000, 4);
  const Load unknown = ending_by_themselves(known, [](int) { return kMostTokens; });
  const Load tight = ending_by_themselves(known, [](int length) { return length; });
  SLUICE_TRY(const Run fcfs, serve("fcfs", "", unknown));
  SLUICE_TRY(const Run learned, serve("sjf", "running-mean", unknown));
  SLUICE_TRY(const Run oracle, serve("sjf", "oracle", tight));
  // A request of length 1023 that claims 2: it would be stopped there, so lies are told upwards only where they must be.
  const Load wrong = ending_by_themselves(known, [](int length) { return std::max(length, kMostTokens + 1 - length); });
  SLUICE_TRY(const Run misled, serve("sjf", "oracle", wrong));

  Finding f;
  std::string why;
  const bool same = same_outputs(fcfs, learned, &why) && same_outputs(fcfs, oracle, &why) && same_outputs(fcfs, misled, &why);
  f.must("the same outputs in any order", same, why);
  const double by_fcfs = e2e_ms(fcfs, known).mean, by_learned = e2e_ms(learned, known).mean, by_oracle = e2e_ms(oracle, known).mean,
               by_misled = e2e_ms(misled, known).mean;
  f.must("mean latency: oracle at most running-mean, running-mean at most fcfs", by_oracle <= by_learned && by_learned <= by_fcfs,
         fmt::format("{:.0f}, {:.0f} and {:.0f} ms", by_oracle, by_learned, by_fcfs));
  constexpr Nanos kAging = 100'000'000;  // the policy's own
  int late = 0;
  for (size_t i = 0; i < known.requests.size(); ++i)
    for (size_t k = 0; k < known.requests.size(); ++k)
      late += known.arrivals[k] > known.arrivals[i] + kAging * (wrong.requests[i].max_tokens + static_cast<Nanos>(wrong.requests[i].prompt.size())) &&
              known.arrivals[k] + misled.waited[k] < known.arrivals[i] + misled.waited[i];
  f.must("misled always, nobody is overtaken by what comes later than its aging allows", late == 0, fmt::format("{} were", late));
  f.effect = {"simulated latency (E2EL), mean", "ms", by_fcfs, by_learned, Better::lower, false};
  f.count("the same with the oracle, ms", by_fcfs, by_oracle);
  f.count("the same with a predictor that is always wrong, ms", by_fcfs, by_misled);
  f.count("longest wait, ms", longest_wait_ms(fcfs, known), longest_wait_ms(learned, known));
  return f;
}

Result<Finding> run_fcfs(const Setting& setting) {
  const Load load = three_clients(setting.quick ? 100 : 1000, 4);
  SLUICE_TRY(const Run sjf, serve("sjf", "oracle", load));
  SLUICE_TRY(const Run fcfs, serve("fcfs", "", load));

  Finding f;
  Nanos last = 0;
  int overtaken = 0;
  for (size_t i = 0; i < load.requests.size(); ++i) {
    const Nanos start = load.arrivals[i] + fcfs.waited[i];
    overtaken += start < last;
    last = std::max(last, start);
  }
  f.must("requests start in the order of their arrival", overtaken == 0, fmt::format("{} did not", overtaken));
  const auto is_short = [](const Request& r) { return r.client == "chat"; };
  f.effect = {"simulated longest wait for a start", "ms", longest_wait_ms(sjf, load), longest_wait_ms(fcfs, load), Better::lower, false};
  f.count("mean latency of the short requests, which wait behind long ones, ms", e2e_ms(sjf, load, is_short).mean,
          e2e_ms(fcfs, load, is_short).mean);
  return f;
}

Result<Finding> run_buckets(const Setting& setting) {
  const std::string path = setting.trace.empty() ? "tests/data/traces/azure_conv_2023.csv" : setting.trace;
  Finding f;
  if (!std::filesystem::exists(path)) {
    f.absent(fmt::format("there is no {} here: run it from the repository, or give a trace by --trace", path));
    return f;
  }
  SLUICE_TRY(const auto trace, load_trace(path));
  int held_out = 0, exact = 0, near = 0;
  std::array<int, Buckets::kBuckets> sizes{};
  const auto start = std::chrono::steady_clock::now();
  for (size_t i = 0; i < trace.size(); i += 5, ++held_out) {  // the training left these out
    const int bucket = Buckets::bucket_of(trace[i].output_tokens), off = Buckets::predicted_bucket(trace[i].prompt_tokens) - bucket;
    exact += off == 0;
    near += off >= -1 && off <= 1;
    ++sizes[static_cast<size_t>(bucket)];
  }
  const double ns = static_cast<double>((std::chrono::steady_clock::now() - start).count()) / held_out;
  f.effect = {"held-out requests in the predicted one of 10 buckets", "%", 100.0 * *std::ranges::max_element(sizes) / held_out,
              100.0 * exact / held_out, Better::higher, false};
  f.count("in it or one beside it, %", 0, 100.0 * near / held_out);
  f.count("ns for a prediction", 0, ns);
  return f;
}

}  // namespace

extern const Experiment kFcfs, kShortestJob, kLengthBuckets;
const Experiment kFcfs = {
    .name = "fcfs",
    .ids = "H1",
    .group = "scheduling",
    .technique = "First come, first served",
    .paper = "-",
    .file = "src/sched/queue/fcfs.h",
    .flag = "`--scheduling-policy fcfs` (default)",
    .test = "`tests/property`",
    .baseline = "shortest job first, with the oracle",
    .workload = "simulated, 8 seats; three clients whose answers have 16, 96 and 400 tokens in the mean",
    .holds = "starts are in the order of arrival; the price is the wait of short requests behind long ones",
    .run = run_fcfs};
const Experiment kShortestJob = {
    .name = "sjf",
    .ids = "H7 H9",
    .group = "scheduling",
    .technique = "Shortest job first by predicted length, with aging; running mean per client",
    .paper = "Fu et al., Learning to rank, NeurIPS 2024; Zheng et al., NeurIPS 2023",
    .file = "src/sched/queue/shortest_job.h",
    .flag = "`--scheduling-policy sjf --length-predictor running-mean|buckets|oracle --aging-ms N`",
    .test = "`tests/property`, `src/sched/length/length_test.cpp`",
    .baseline = "first come, first served",
    .workload = "as `fcfs`, where the requests end by themselves",
    .holds = "lossless; oracle at most predictor at most fcfs in mean latency; aging bounds what a wrong predictor does",
    .run = run_sjf};
const Experiment kLengthBuckets = {
    .name = "length-buckets",
    .ids = "H9",
    .group = "scheduling",
    .technique = "Length buckets by a classifier",
    .paper = "Jin et al., S3, NeurIPS 2023 (which reads the prompt's text by a language model: 98.6 %)",
    .file = "src/sched/length/buckets.h",
    .flag = "`--length-predictor buckets`",
    .test = "`src/sched/length/length_test.cpp`",
    .baseline = "the largest bucket, always",
    .workload = "the Azure conversation trace, the fifth that training left out",
    .holds = "the accuracy that training reported",
    .run = run_buckets,
    .reads_trace = true};

}  // namespace sluice::lab
