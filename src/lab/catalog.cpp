#include "lab/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace sluice::lab {

// kv/
extern const Experiment kAveragedScores, kHeavyHitters, kKeyformer, kRetentionSwap, kStreaming;
extern const Experiment kBeamSearch, kBlockSharing, kFp8Kv, kGear4, kHashChain, kInFlightPrefix, kInt4Kv, kInt8Kv, kKeptHistory, kKivi2, kKivi4, kKvFormatsPerLayer, kKvLayout, kKvOffload, kKvQuant,
    kLongContext, kMiniCache, kMultiTurn, kPaged, kParallelSampling, kPromptCache, kQueueAwareTiers, kRadix, kRestart, kRestoreChoice, kRopeScaling, kSelectiveReconstruction, kSwap, kTokenGranular,
    kVAttention, kWindowPages;
// measured_elsewhere.cpp
extern const Experiment kI8G128, kMatmulPlans, kNativePack, kPackedMatmul, kPhilox, kRepack, kTiledAttention;
// model_parts.cpp
extern const Experiment kGroupedHeads, kLatentAttention, kLinearAttention, kMamba, kMixture, kRetNet, kRwkv;
// attention/
extern const Experiment kSharedAttention;
// batching/
extern const Experiment kStaticBatching, kContinuous, kRaggedAttention, kChunkedPrefill, kStallFree, kSplitAndFuse, kDecodeFirst,
    kLengthBinned;
// scheduling/
extern const Experiment kFcfs, kLengthBuckets, kLongestPrefix, kMlfq, kPriority, kPriorityAging, kShortestJob, kVtc;
extern const Experiment kExactAdmission, kPredictedReservation, kEarlyRejection, kClientLimits;
// routing/
extern const Experiment kPrefixAwareRouting, kSimulator;

namespace {

constexpr std::array kCatalog = {
    &kPaged,
    &kTokenGranular,
    &kVAttention,
    &kWindowPages,
    &kKvLayout,
    &kBlockSharing,
    &kParallelSampling,
    &kBeamSearch,
    &kRadix,
    &kInFlightPrefix,
    &kHashChain,
    &kPromptCache,
    &kSelectiveReconstruction,
    &kKeptHistory,
    &kSwap,
    &kRestoreChoice,
    &kMultiTurn,
    &kQueueAwareTiers,
    &kRestart,
    &kKvOffload,
    &kInt8Kv,
    &kFp8Kv,
    &kInt4Kv,
    &kKivi4,
    &kKivi2,
    &kGear4,
    &kKvQuant,
    &kMiniCache,
    &kKvFormatsPerLayer,
    &kLongContext,
    &kRopeScaling,
    &kStreaming,
    &kHeavyHitters,
    &kAveragedScores,
    &kKeyformer,
    &kRetentionSwap,
    &kTiledAttention,
    &kSharedAttention,
    &kStaticBatching,
    &kContinuous,
    &kRaggedAttention,
    &kChunkedPrefill,
    &kStallFree,
    &kSplitAndFuse,
    &kDecodeFirst,
    &kLengthBinned,
    &kFcfs,
    &kPriority,
    &kPriorityAging,
    &kShortestJob,
    &kMlfq,
    &kLengthBuckets,
    &kVtc,
    &kLongestPrefix,
    &kExactAdmission,
    &kPredictedReservation,
    &kEarlyRejection,
    &kClientLimits,
    &kPrefixAwareRouting,
    &kPackedMatmul,
    &kMatmulPlans,
    &kRepack,
    &kI8G128,
    &kNativePack,
    &kPhilox,
    &kGroupedHeads,
    &kLatentAttention,
    &kMixture,
    &kMamba,
    &kRwkv,
    &kRetNet,
    &kLinearAttention,
    &kSimulator,
};

bool has_id(const Experiment& x, std::string_view id) {
  for (std::string_view rest = x.ids; !rest.empty();) {
    const size_t end = std::min(rest.find(' '), rest.size());
    if (rest.substr(0, end) == id) return true;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

}  // namespace

std::span<const Experiment* const> catalog() { return kCatalog; }

Result<std::vector<const Experiment*>> find_experiments(std::string_view name) {
  std::vector<const Experiment*> found;
  for (const Experiment* x : kCatalog)
    if (x->run != nullptr && (x->name == name || x->group == name || has_id(*x, name))) found.push_back(x);
  if (!found.empty()) return found;
  std::string known;
  for (const Experiment* x : kCatalog)
    if (x->run != nullptr) known += (known.empty() ? "" : ", ") + std::string(x->name);
  return invalid_argument(fmt::format("there is no experiment, group or id '{}'; experiments are: {}", name, known), "words");
}

}  // namespace sluice::lab
