#include "sim/run_plots.h"

namespace sluice {

RunPlots::RunPlots(int replicas) : each_(replicas <= 8), replicas_(replicas) {
  const size_t lines = each_ ? static_cast<size_t>(replicas) : 1;
  waiting_.resize(lines);
  running_.resize(lines);
  kv_use_.resize(lines);
}

void RunPlots::stepped(const ReplicaStep& step) {
  const size_t line = each_ ? static_cast<size_t>(step.replica) : 0;
  const EngineStats& s = step.stats;
  // Weighted by the time for which it was so.
  const double weight = static_cast<double>(step.end - step.start);
  const auto add = [&](TimeBins<Mean>& series, double value) { series.at(step.end).merge({weight * value, weight}); };
  add(waiting_[line], s.waiting);
  add(running_[line], s.running);
  add(kv_use_[line], 100.0 * (s.total_blocks - s.free_blocks - s.cached_idle_blocks) / s.total_blocks);
}

void RunPlots::ended(const RequestRecord& r) {
  if (!r.ok || r.token_times.empty()) return;
  ttft_ms_.at(r.token_times.front()).add(static_cast<double>(r.ttft()) / 1e6);
  for (size_t i = 1; i < r.token_times.size(); ++i)
    tbt_ms_.at(r.token_times[i]).add(static_cast<double>(r.token_times[i] - r.token_times[i - 1]) / 1e6);
}

std::vector<PlotLine> RunPlots::by_replica(const std::vector<TimeBins<Mean>>& series) const {
  std::vector<PlotLine> lines;
  for (size_t i = 0; i < series.size(); ++i) {
    PlotLine line{!each_ ? "mean of replicas" : replicas_ == 1 ? "" : fmt::format("replica {}", i), {}};
    for (size_t bin = 0; bin < series[i].bins().size(); ++bin)
      if (const Mean& m = series[i].bins()[bin]; m.n > 0) line.points.emplace_back(series[i].second(bin), m.sum / m.n);
    lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<PlotLine> RunPlots::quantiles(const TimeBins<Latencies>& series) {
  std::vector<PlotLine> lines;
  for (const auto& [name, percent] : {std::pair{"p99", 99}, std::pair{"median", 50}}) {
    PlotLine line{name, {}};
    for (size_t bin = 0; bin < series.bins().size(); ++bin)
      if (const Latencies& l = series.bins()[bin]; l.count() > 0) line.points.emplace_back(series.second(bin), l.percentile(percent));
    lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<RunPlots::File> RunPlots::plots() const {
  const std::string time = "simulated time, s";
  std::vector<PlotLine> requests = by_replica(waiting_);
  if (replicas_ == 1) {
    requests[0].name = "waiting";
    requests.push_back(by_replica(running_)[0]);
    requests[1].name = "running";
  }
  std::vector<PlotLine> kv = by_replica(kv_use_);
  if (replicas_ == 1) kv[0].name = "in use";
  return {{"queue.svg", {replicas_ == 1 ? "Requests" : "Requests that wait", time, "requests", std::move(requests)}},
          {"kv.svg", {"KV cache held by running requests", time, "% of blocks", std::move(kv)}},
          {"ttft.svg", {"Time to first token, by the time of the token", time, "TTFT, ms", quantiles(ttft_ms_)}},
          {"tbt.svg", {"Time between tokens, by the time of the later one", time, "TBT, ms", quantiles(tbt_ms_)}}};
}

}  // namespace sluice
