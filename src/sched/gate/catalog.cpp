#include "sched/gate/catalog.h"

#include "sched/gate/exact.h"
#include "sched/gate/in_flight_prefix.h"
#include "sched/gate/length_binned.h"
#include "sched/gate/predicted.h"
#include "sched/gate/static_batch.h"
#include "sched/gate/watermark.h"
#include "sched/gate/windowed_batch.h"

namespace sluice {

std::span<const BatchingEntry> batching_catalog() {
  static constexpr BatchingEntry kEntries[] = {
      {"continuous", "sequences join and leave at every step",
       [](const GateOptions& o) {
         Gates gates;
         if (o.prefix_cache) gates.push_back(std::make_unique<InFlightPrefix>());
         return gates;
       }},
      {"static", "a batch runs until its last member has ended",
       [](const GateOptions&) {
         Gates gates;
         gates.push_back(std::make_unique<StaticBatch>());
         return gates;
       },
       false, false, true},
      {"windowed", "the same, formed when all seats are asked for or the first has waited for the queue delay",
       [](const GateOptions& o) {
         Gates gates;
         gates.push_back(std::make_unique<WindowedBatch>(o.max_num_seqs, o.max_queue_delay));
         return gates;
       },
       true, false, true},
      {"length-binned", "static batches of those whose outputs are predicted to be about as long",
       [](const GateOptions& o) {
         Gates gates;
         gates.push_back(std::make_unique<LengthBinned>(o.max_num_seqs, o.lengths));
         return gates;
       },
       false, true, true},
  };
  return kEntries;
}

std::span<const AdmissionEntry> admission_catalog() {
  using Gate = std::unique_ptr<AdmissionGate>;
  static constexpr AdmissionEntry kEntries[] = {
      {"watermark", "when the present tokens fit, with a reserve; may preempt later", true,
       [](const GateOptions& o) -> Gate { return std::make_unique<Watermark>(o.watermark, o.sequences_grow); }},
      {"exact", "when nobody would be preempted even if all reached max_tokens", false,
       [](const GateOptions& o) -> Gate { return std::make_unique<ExactAdmission>(o.lockstep); }},
      {"predicted", "when prompt and predicted outputs of all fit; who exceeds the prediction starts again with twice as much", false,
       [](const GateOptions& o) -> Gate { return std::make_unique<PredictedReservation>(o.lengths); }, true},
      {"reserve", "when prompt and max_tokens of all fit at once", false,
       [](const GateOptions&) -> Gate { return std::make_unique<ExactAdmission>(false); }},
  };
  return kEntries;
}

Gates make_gates(const BatchingEntry& batching, const AdmissionEntry& admission, const GateOptions& options) {
  Gates gates = batching.make(options);
  gates.push_back(admission.make(options));
  return gates;
}

}  // namespace sluice
