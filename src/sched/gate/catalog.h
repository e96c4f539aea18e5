#pragma once
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "sched/policies.h"

namespace sluice {

inline constexpr double kDefaultWatermark = 0.01;

struct GateOptions {
  double watermark = kDefaultWatermark;   // --watermark: share of the pool that admission leaves free
  bool prefix_cache = true;  // whether a running sequence publishes what it computes
  bool sequences_grow = true;  // whether they may need more blocks than at admission, for which some are left free
  // --max-num-batched-tokens is at least --max-num-seqs: everybody who has its first token gets the next in every step
  bool lockstep = true;
  int max_num_seqs = 256;
  Nanos max_queue_delay = 0;  // --max-queue-delay-ms: how long a batch waits to be full
  const LengthPredictor* lengths = nullptr;  // outlives the gates; null where no line reads it
};

using Gates = std::vector<std::unique_ptr<AdmissionGate>>;

/// One line per technique. A batching mode names the gates that say who may join now, all of which must say yes;
/// `--batching NAME`.
struct BatchingEntry {
  std::string_view name, help;
  Gates (*make)(const GateOptions& options);
  bool reads_queue_delay = false;  // for the others --max-queue-delay-ms is an error
  bool reads_lengths = false;      // a predictor of lengths
  bool closed = false;             // nobody joins a batch that runs, not even the beams of its own members
};
std::span<const BatchingEntry> batching_catalog();

/// One line per technique: for whom there is memory; `--admission-policy NAME`. Asked after the gates of the batching.
struct AdmissionEntry {
  std::string_view name, help;
  bool reads_watermark;  // for the others a --watermark is of no use
  std::unique_ptr<AdmissionGate> (*make)(const GateOptions& options);
  bool reads_lengths = false;
};
std::span<const AdmissionEntry> admission_catalog();

/// In the order in which they are asked.
Gates make_gates(const BatchingEntry& batching, const AdmissionEntry& admission, const GateOptions& options);

}  // namespace sluice
