#include "sched/gate/catalog.h"

#include "sched/gate/in_flight_prefix.h"
#include "sched/gate/static_batch.h"
#include "sched/gate/watermark.h"

namespace sluice {

std::span<const BatchingEntry> batching_catalog() {
  static constexpr BatchingEntry kEntries[] = {
      {"continuous", "sequences join and leave at every step",
       [](const GateOptions& o) {
         std::vector<std::unique_ptr<AdmissionGate>> gates;
         if (o.prefix_cache) gates.push_back(std::make_unique<InFlightPrefix>());
         gates.push_back(std::make_unique<Watermark>(o.watermark, o.sequences_grow));
         return gates;
       }},
      {"static", "a batch runs until its last member has ended",
       [](const GateOptions& o) {
         std::vector<std::unique_ptr<AdmissionGate>> gates;
         gates.push_back(std::make_unique<StaticBatch>());
         gates.push_back(std::make_unique<Watermark>(o.watermark, o.sequences_grow));
         return gates;
       }},
  };
  return kEntries;
}

}  // namespace sluice
