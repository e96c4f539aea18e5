#pragma once
// What /metrics shows of a model that reads texts whole, under the names that generating models have for the same (metrics.h).

#include <memory>
#include <string>

#include "engine/encoder_queue.h"

namespace sluice {

class EncoderMetrics {
 public:
  enum class End : uint8_t { stop, abort, error };
  EncoderMetrics(const std::string& model_name, const EncoderQueue& queue);
  ~EncoderMetrics();
  /// From any thread: a request ended.
  void finished(End end, Nanos since_arrival);
  /// The text format of Prometheus, version 0.0.4.
  std::string text() const;

 private:
  struct Registry;
  const EncoderQueue& queue_;
  const std::unique_ptr<Registry> registry_;
};

}  // namespace sluice
