#include "sim/serving_report.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>

namespace sluice {

void ReportBuilder::arrived(Nanos due) {
  ++arrivals_;
  first_due_ = std::min(first_due_, due);
  if (due <= last_due_) return;
  last_due_ = due;
  std::erase_if(late_first_tokens_, [due](Nanos t) { return t <= due; });
}

void ReportBuilder::add(const RequestRecord& r) {
  first_arrival_ = std::min(first_arrival_, r.arrival);
  if (!r.ok || r.token_times.empty()) {
    ++totals_.failed;
    if (std::ranges::find(totals_.errors, r.error) == totals_.errors.end() && totals_.errors.size() < 5)
      totals_.errors.push_back(r.error);
    return;
  }
  last_token_ = std::max(last_token_, r.token_times.back());
  if (r.token_times.front() > last_due_) late_first_tokens_.push_back(r.token_times.front());
  ++totals_.completed;
  totals_.total_input += r.prompt_tokens;
  totals_.total_output += r.outputs();
  const double ttft = static_cast<double>(r.ttft()) / 1e6, e2el = static_cast<double>(r.e2e()) / 1e6;
  ttft_.add(ttft);
  e2el_.add(e2el);
  if (r.outputs() > 1) tpot_.add(r.tpot() / 1e6);
  for (size_t i = 1; i < r.token_times.size(); ++i)
    itl_.add(static_cast<double>(r.token_times[i] - r.token_times[i - 1]) / 1e6);
  good_ += (limits_.ttft_ms <= 0 || ttft <= limits_.ttft_ms) && (limits_.tpot_ms <= 0 || r.tpot() / 1e6 <= limits_.tpot_ms) &&
           (limits_.e2el_ms <= 0 || e2el <= limits_.e2el_ms);
}

ServingReport ReportBuilder::report(Nanos duration_ns) const {
  ServingReport report = totals_;
  const Nanos duration =
      duration_ns > 0 ? duration_ns : std::max<Nanos>(1, last_token_ - std::min(first_arrival_, last_token_));
  report.duration_s = static_cast<double>(duration) / 1e9;
  report.request_throughput = report.completed / report.duration_s;
  report.output_throughput = static_cast<double>(report.total_output) / report.duration_s;
  report.total_token_throughput = static_cast<double>(report.total_input + report.total_output) / report.duration_s;
  // Load against capacity. While requests arrive faster than they are served, those that wait grow in number until the
  // last has come. Were both rates equal, that number would be a random walk: of n arrivals and n services at random times
  // it ends within sqrt(2 n) of zero two times in three, and above 3 sqrt(n) three times in a hundred.
  constexpr Nanos kAtOnce = 1'000'000'000;  // arrivals within a second have no rate
  if (arrivals_ > 0 && last_due_ - first_due_ >= kAtOnce) {
    report.arrival_rate = static_cast<double>(arrivals_ - 1) * 1e9 / static_cast<double>(last_due_ - first_due_);
    report.waiting_at_last_arrival = static_cast<int>(late_first_tokens_.size());
    report.overloaded = report.waiting_at_last_arrival > 3 * std::sqrt(report.completed);
  }
  report.has_goodput = limits_.any();
  report.request_goodput = static_cast<double>(good_) / report.duration_s;
  report.ttft_ms = ttft_.spread();
  report.tpot_ms = tpot_.spread();
  report.itl_ms = itl_.spread();
  report.e2el_ms = e2el_.spread();
  for (const Samples* s : {&ttft_, &tpot_, &itl_, &e2el_})
    if (!s->exact()) report.percentile_error = Samples::kError;
  return report;
}

ServingReport make_report(const std::vector<RequestRecord>& records, const GoodputLimits& limits, Nanos duration_ns) {
  ReportBuilder builder(limits, SIZE_MAX);
  for (const RequestRecord& r : records) builder.arrived(r.arrival - r.held);
  for (const RequestRecord& r : records) builder.add(r);
  return builder.report(duration_ns);
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
  if (percentile_error > 0) out += fmt::format("percentiles of many values are within {} % of exact ones\n", 100 * percentile_error);
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
  if (percentile_error > 0) j["percentile_error"] = percentile_error;
  j["errors"] = errors;
  return j.dump(2) + "\n";
}

}  // namespace sluice
