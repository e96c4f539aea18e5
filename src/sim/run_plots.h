#pragma once
// Four plots of a simulated run over time: requests that wait, KV cache in use, time to first token, and time between
// tokens.

#include <string>
#include <vector>

#include "sim/cluster.h"
#include "sim/svg_plot.h"
#include "sim/time_bins.h"

namespace sluice {

class RunPlots {
 public:
  /// Replicas get a line each up to 8, else all share one.
  explicit RunPlots(int replicas);
  void stepped(const ReplicaStep& step);
  void ended(const RequestRecord& record);

  struct File { std::string name; Plot plot; };  // "queue.svg"
  std::vector<File> plots() const;

 private:
  struct Mean {
    double sum = 0, n = 0;
    void merge(const Mean& other) { sum += other.sum, n += other.n; }
  };
  /// Few are exact, and a bin's bounds are wide anyway.
  struct Latencies : Samples {
    Latencies() : Samples(256) {}
  };
  std::vector<PlotLine> by_replica(const std::vector<TimeBins<Mean>>& series) const;
  static std::vector<PlotLine> quantiles(const TimeBins<Latencies>& series);

  bool each_;  // replica has a line
  int replicas_;
  std::vector<TimeBins<Mean>> waiting_, running_, kv_use_;  // by line
  TimeBins<Latencies> ttft_ms_, tbt_ms_;                    // by the time of the token
};

}  // namespace sluice
