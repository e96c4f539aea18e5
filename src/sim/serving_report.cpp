#include "sim/serving_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace sluice {

Spread spread_of(std::vector<double> values) {
  Spread s;
  if (values.empty()) return s;
  std::sort(values.begin(), values.end());
  for (const double v : values) s.mean += v;
  s.mean /= static_cast<double>(values.size());
  for (const double v : values) s.std += (v - s.mean) * (v - s.mean);
  s.std = std::sqrt(s.std / static_cast<double>(values.size()));
  auto percentile = [&](double p) {
    const double at = p / 100 * static_cast<double>(values.size() - 1);
    const size_t low = static_cast<size_t>(at), high = std::min(low + 1, values.size() - 1);
    return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
  };
  s.median = s.p50 = percentile(50);
  s.p90 = percentile(90);
  s.p95 = percentile(95);
  s.p99 = percentile(99);
  return s;
}

namespace {

/// Load against capacity. While requests arrive faster than they are served, those that wait grow in number until the
/// last has come. Were both rates equal, that number would be a random walk: of n arrivals and n services at random times
/// it ends within sqrt(2 n) of zero two times in three, and above 3 sqrt(n) three times in a hundred.
void judge_load(const std::vector<RequestRecord>& records, ServingReport& report) {
  constexpr Nanos kAtOnce = 1'000'000'000;  // arrivals within a second have no rate
  if (records.empty()) return;
  const auto due = [](const RequestRecord& r) { return r.arrival - r.held; };
  const auto [first, last] = std::ranges::minmax(records, {}, due);
  const Nanos span = due(last) - due(first);
  if (span < kAtOnce) return;
  report.arrival_rate = static_cast<double>(records.size() - 1) * 1e9 / static_cast<double>(span);
  for (const RequestRecord& r : records)
    report.waiting_at_last_arrival += r.ok && !r.token_times.empty() && r.token_times.front() > due(last);
  report.overloaded = report.waiting_at_last_arrival > 3 * std::sqrt(report.completed);
}

}  // namespace

ServingReport make_report(const std::vector<RequestRecord>& records, const GoodputLimits& limits, Nanos duration_ns) {
  ServingReport report;
  std::vector<double> ttft, tpot, itl, e2el;
  Nanos first = INT64_MAX, last = 0;
  int good = 0;
  for (const RequestRecord& r : records) {
    first = std::min(first, r.arrival);
    if (!r.ok || r.token_times.empty()) {
      ++report.failed;
      if (std::ranges::find(report.errors, r.error) == report.errors.end() && report.errors.size() < 5)
        report.errors.push_back(r.error);
      continue;
    }
    last = std::max(last, r.token_times.back());
    ++report.completed;
    report.total_input += r.prompt_tokens;
    report.total_output += r.outputs();
    ttft.push_back(static_cast<double>(r.ttft()) / 1e6);
    e2el.push_back(static_cast<double>(r.e2e()) / 1e6);
    if (r.outputs() > 1) tpot.push_back(r.tpot() / 1e6);
    for (size_t i = 1; i < r.token_times.size(); ++i)
      itl.push_back(static_cast<double>(r.token_times[i] - r.token_times[i - 1]) / 1e6);
    good += (limits.ttft_ms <= 0 || ttft.back() <= limits.ttft_ms) && (limits.tpot_ms <= 0 || r.tpot() / 1e6 <= limits.tpot_ms) &&
            (limits.e2el_ms <= 0 || e2el.back() <= limits.e2el_ms);
  }
  const Nanos duration = duration_ns > 0 ? duration_ns : std::max<Nanos>(1, last - std::min(first, last));
  report.duration_s = static_cast<double>(duration) / 1e9;
  report.request_throughput = report.completed / report.duration_s;
  report.output_throughput = static_cast<double>(report.total_output) / report.duration_s;
  report.total_token_throughput = static_cast<double>(report.total_input + report.total_output) / report.duration_s;
  judge_load(records, report);
  report.has_goodput = limits.any();
  report.request_goodput = good / report.duration_s;
  report.ttft_ms = spread_of(std::move(ttft));
  report.tpot_ms = spread_of(std::move(tpot));
  report.itl_ms = spread_of(std::move(itl));
  report.e2el_ms = spread_of(std::move(e2el));
  return report;
}

std::string ServingReport::to_text() const {
  std::string out = fmt::format("{:=^50}\n", " Serving Benchmark Result ");
  auto line = [&](const char* name, const std::string& value) { out += fmt::format("{:<40} {:<10}\n", name, value); };
  line("Successful requests:", fmt::format("{}", completed));
  line("Failed requests:", fmt::format("{}", failed));
  line("Benchmark duration (s):", fmt::format("{:.2f}", duration_s));
  line("Total input tokens:", fmt::format("{}", total_input));
  line("Total generated tokens:", fmt::format("{}", total_output));
  line("Request throughput (req/s):", fmt::format("{:.2f}", request_throughput));
  if (has_goodput) line("Request goodput (req/s):", fmt::format("{:.2f}", request_goodput));
  line("Output token throughput (tok/s):", fmt::format("{:.2f}", output_throughput));
  line("Total Token throughput (tok/s):", fmt::format("{:.2f}", total_token_throughput));
  struct Row { const char *title, *name; const Spread* s; };
  for (const Row& row : {Row{"Time to First Token", "TTFT", &ttft_ms}, Row{"Time per Output Token (excl. 1st token)", "TPOT", &tpot_ms},
                         Row{"Inter-token Latency", "ITL", &itl_ms}, Row{"End-to-end Latency", "E2EL", &e2el_ms}}) {
    out += fmt::format("{:-^50}\n", row.title);
    line(fmt::format("Mean {} (ms):", row.name).c_str(), fmt::format("{:.2f}", row.s->mean));
    line(fmt::format("Median {} (ms):", row.name).c_str(), fmt::format("{:.2f}", row.s->median));
    line(fmt::format("P95 {} (ms):", row.name).c_str(), fmt::format("{:.2f}", row.s->p95));
    line(fmt::format("P99 {} (ms):", row.name).c_str(), fmt::format("{:.2f}", row.s->p99));
  }
  for (const std::string& error : errors) out += "error: " + error + "\n";
  if (overloaded)
    out += fmt::format(
        "overloaded: {:.2f} requests arrived per second and {:.2f} were served; {} of {} had no token when the last came, so "
        "that latencies grow with the length of the run\n",
        arrival_rate, request_throughput, waiting_at_last_arrival, completed);
  return out + fmt::format("{:=^50}\n", "");
}

std::string ServingReport::to_json() const {
  nlohmann::ordered_json j;
  j["duration"] = duration_s;
  j["completed"] = completed;
  j["failed"] = failed;
  j["total_input_tokens"] = total_input;
  j["total_output_tokens"] = total_output;
  j["request_throughput"] = request_throughput;
  j["request_goodput"] = has_goodput ? nlohmann::ordered_json(request_goodput) : nlohmann::ordered_json(nullptr);
  j["arrival_rate"] = arrival_rate > 0 ? nlohmann::ordered_json(arrival_rate) : nlohmann::ordered_json(nullptr);
  j["waiting_at_last_arrival"] = waiting_at_last_arrival;
  j["overloaded"] = overloaded;
  j["output_throughput"] = output_throughput;
  j["total_token_throughput"] = total_token_throughput;
  struct Row { const char* name; const Spread* s; };
  for (const Row& row : {Row{"ttft", &ttft_ms}, Row{"tpot", &tpot_ms}, Row{"itl", &itl_ms}, Row{"e2el", &e2el_ms}}) {
    auto key = [&](const char* kind) { return fmt::format("{}_{}_ms", kind, row.name); };
    j[key("mean")] = row.s->mean;
    j[key("median")] = row.s->median;
    j[key("std")] = row.s->std;
    j[key("p90")] = row.s->p90;
    j[key("p95")] = row.s->p95;
    j[key("p99")] = row.s->p99;
  }
  j["errors"] = errors;
  return j.dump(2) + "\n";
}

}  // namespace sluice
