#include <algorithm>

#include "lab/workloads.h"

namespace sluice::lab {
namespace {

constexpr double kSlo_ms = 2000;

EngineOptions small_server() {
  EngineOptions options = engine_options(1024, 32 * 1024);
  options.max_num_seqs = 16;
  return options;
}

Load load_at(double rate, int n) {
  return mixed_lengths(kSimulatedVocab, {.n = n, .prompt_mean = 64, .output_mean = 64, .output_most = 300, .rate = rate});
}

/// Requests a second whose first token came within the limit, while requests came.
double goodput(const Run& run) {
  double good = 0;
  for (const RequestRecord& r : run.records) good += r.ok && static_cast<double>(r.ttft()) <= kSlo_ms * 1e6;
  return good * 1e9 / static_cast<double>(run.records.back().arrival - run.records.front().arrival);
}

double ttft_p99_ms(const Run& run, auto&& counts) {
  std::vector<double> ms;
  for (size_t i = 0; i < run.records.size(); ++i)
    if (run.records[i].ok && counts(i)) ms.push_back(static_cast<double>(run.records[i].ttft()) / 1e6);
  return spread_of(std::move(ms)).p99;
}

Result<Finding> early_rejection(const Setting& setting) {
  const int n = setting.quick ? 1000 : 6000;
  EngineOptions options = small_server();
  SLUICE_TRY(const Run at_once, simulate(options, load_at(0, 300)));
  const double capacity = at_once.report.request_throughput;
  const Load half = load_at(capacity / 2, n / 4), once = load_at(0.9 * capacity, n / 2), twice = load_at(2 * capacity, n);
  SLUICE_TRY(const Run open_once, simulate(options, once));
  SLUICE_TRY(const Run open, simulate(options, twice));
  options.limits.slo_ttft_ms = kSlo_ms;
  SLUICE_TRY(const Run light, simulate(options, half));
  SLUICE_TRY(const Run limited, simulate(options, twice));

  // Prompts and outputs of one length: places come free many at once.
  EngineOptions many_seats = options;
  many_seats.max_num_seqs = 64;
  Load alike;
  Rng rng(8);
  for (int i = 0; i < 30 * n; ++i) alike.requests.push_back(forced_request(random_tokens(rng, kSimulatedVocab, 16), 64)), alike.arrivals.push_back(i * Nanos{5'000'000});
  SLUICE_TRY(const Run by_turns, simulate(many_seats, alike));
  const double in_time = static_cast<double>(std::ranges::count_if(by_turns.records, [](const RequestRecord& r) { return r.ok && static_cast<double>(r.ttft()) <= kSlo_ms * 1e6; }));

  Finding f;
  f.must("where first tokens come many at once, nine of ten of those served are in time too", in_time >= 0.9 * by_turns.report.completed && by_turns.stats.refused.slo > 0,
         fmt::format("{} of {}, {} refused", in_time, by_turns.report.completed, by_turns.stats.refused.slo));
  f.must("at half the capacity nobody is refused", light.stats.refused.slo == 0);
  f.must("at twice the capacity goodput is what it is at nine tenths", goodput(limited) >= 0.9 * goodput(open_once),
         fmt::format("{:.2f} at 0.9, {:.2f} requests a second at 2.0", goodput(open_once), goodput(limited)));
  f.must("where it collapses without a limit", goodput(open) < 0.5 * goodput(open_once), fmt::format("to {:.2f}", goodput(open)));
  f.must("who is refused hears so at once, all others are served",
         limited.stats.refused.slo == static_cast<uint64_t>(limited.failed()) && limited.report.completed + limited.failed() == n);
  f.effect = {fmt::format("simulated goodput at twice the capacity, first token within {:.0f} ms", kSlo_ms), "req/s", goodput(open), goodput(limited), Better::higher, false};
  f.count("refused", 0, static_cast<double>(limited.stats.refused.slo));
  const auto all = [](size_t) { return true; };
  f.count("p99 TTFT of those served, ms", ttft_p99_ms(open, all), ttft_p99_ms(limited, all));
  f.count("output tok/s", open.report.output_throughput, limited.report.output_throughput);
  return f;
}

Result<Finding> client_limits(const Setting& setting) {
  const int n = setting.quick ? 800 : 5000;
  EngineOptions options = small_server();
  SLUICE_TRY(const Run at_once, simulate(options, load_at(0, 300)));
  const double capacity = at_once.report.request_throughput;
  // Nine of ten requests are one client's, who sends twice what the server can do.
  Load load = load_at(2 * capacity, n);
  const auto light = [](size_t i) { return i % 10 == 0; };
  for (size_t i = 0; i < load.requests.size(); ++i) load.requests[i].client = light(i) ? "light" : "heavy";
  SLUICE_TRY(const Run open, simulate(options, load));
  options.limits.max_waiting_per_client = 4;
  SLUICE_TRY(const Run queue, simulate(options, load));
  options.limits.max_waiting_per_client = 0;
  options.limits.client_token_rate = 0.7 * at_once.report.total_token_throughput;
  options.limits.client_token_burst = options.limits.client_token_rate * 5;
  SLUICE_TRY(const Run rate, simulate(options, load));

  Finding f;
  int refused_light = 0;
  double heavy_tokens = 0;
  for (size_t i = 0; i < load.requests.size(); ++i) {
    if (light(i)) refused_light += !queue.records[i].ok + !rate.records[i].ok;
    else if (rate.records[i].ok) heavy_tokens += static_cast<double>(load.requests[i].prompt.size()) + load.requests[i].max_tokens;
  }
  f.must("the light client is never refused", refused_light == 0);
  const double seconds = static_cast<double>(load.arrivals.back()) / 1e9;
  f.must("the heavy one gets its rate and its burst, no more", heavy_tokens <= options.limits.client_token_rate * (seconds + 5),
         fmt::format("{:.0f} of {:.0f} tok/s", heavy_tokens / seconds, options.limits.client_token_rate));
  f.effect = {"simulated p99 TTFT of a light client beside one that floods, without and with at most 4 waiting per client", "ms", ttft_p99_ms(open, light), ttft_p99_ms(queue, light), Better::lower, false};
  f.count("the same with a rate of 70 % of the capacity per client, ms", ttft_p99_ms(open, light), ttft_p99_ms(rate, light));
  f.count("refused, of the heavy client", 0, static_cast<double>(queue.stats.refused.client_queue));
  f.count("output tok/s", open.report.output_throughput, queue.report.output_throughput);
  return f;
}

}  // namespace

extern const Experiment kEarlyRejection, kClientLimits;
const Experiment kEarlyRejection = {
    .name = "early-rejection",
    .ids = "H8",
    .group = "scheduling",
    .technique = "Early rejection by the predicted time to first token",
    .paper = "Qin et al., Mooncake, FAST 2025, section 7",
    .file = "src/engine/request_limits.h",
    .flag = "`--slo-ttft-ms T`",
    .test = "`src/engine/request_limits_test.cpp`, `src/serve/openai/api_server_load_test.cpp`",
    .baseline = "everybody is let in",
    .workload = "simulated, mixed lengths at twice the capacity",
    .holds = "goodput does not collapse beyond saturation; nobody is refused below it",
    .run = early_rejection};
const Experiment kClientLimits = {
    .name = "client-limits",
    .ids = "H8",
    .group = "scheduling",
    .technique = "Limits per client: token buckets and shares of the queue",
    .paper = "Turner, New directions in communications, 1986 (the token bucket)",
    .file = "src/engine/request_limits.h",
    .flag = "`--client-token-rate R --client-token-burst B`, `--max-waiting-per-client N`",
    .test = "`src/engine/request_limits_test.cpp`, `src/serve/openai/api_server_load_test.cpp`",
    .baseline = "no limits",
    .workload = "simulated, twice the capacity, nine tenths of it by one client",
    .holds = "a client gets its rate and burst; a light client is not refused, and waits little",
    .run = client_limits};

}  // namespace sluice::lab
