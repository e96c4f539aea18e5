#pragma once
// What /metrics shows: vLLM's names under the prefix "sluice:", with the label model_name. Counters and gauges are read
// from the engine when asked for; histograms are fed as requests go on.

#include <memory>
#include <string>
#include <unordered_map>

#include "base/event.h"
#include "engine/engine.h"

namespace sluice {

class ServerMetrics final : public Observer {
 public:
  /// The engine must outlive it; observe() of the engine feeds the time in the queue.
  ServerMetrics(const std::string& model_name, const Engine& engine);
  ~ServerMetrics() override;

  /// On the engine's thread.
  void on(const Event& event) override;

  // From any thread; durations in ns.
  void first_token(Nanos since_arrival);
  void next_token(Nanos since_the_one_before);
  /// One sample ended. cancelled counts as "abort".
  void finished(FinishReason reason, Nanos since_arrival);

  /// The text format of Prometheus, version 0.0.4.
  std::string text() const;

 private:
  struct Registry;
  const Engine& engine_;
  const std::unique_ptr<Registry> registry_;
  std::unordered_map<SeqId, Nanos> queued_since_;
};

}  // namespace sluice
