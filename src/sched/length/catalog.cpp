#include "sched/length/catalog.h"

#include "sched/length/buckets.h"
#include "sched/length/oracle.h"
#include "sched/length/retrained_buckets.h"
#include "sched/length/running_mean.h"

namespace sluice {

std::span<const LengthPredictorEntry> length_predictor_catalog() {
  static constexpr LengthPredictorEntry kEntries[] = {
      {"running-mean", "what the client's requests generated of late",
       []() -> std::unique_ptr<LengthPredictor> { return std::make_unique<RunningMean>(); }},
      {"buckets", "the usual bucket of such prompts in conversations",
       []() -> std::unique_ptr<LengthPredictor> { return std::make_unique<Buckets>(); }},
      {"retrained-buckets", "the same, retrained on the requests that have ended here",
       []() -> std::unique_ptr<LengthPredictor> { return std::make_unique<RetrainedBuckets>(); }},
      {"oracle", "max_tokens: exact where lengths are forced, as in simulations",
       []() -> std::unique_ptr<LengthPredictor> { return std::make_unique<Oracle>(); }},
  };
  return kEntries;
}

}  // namespace sluice
