#include "sched/length/buckets.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace sluice {
namespace {

/// Per quarter octave of prompt lengths.
constexpr uint8_t kTable[Buckets::kPromptBins] = {
#include "sched/length/bucket_table.inc"
};

}  // namespace

int Buckets::bucket_of(int output_tokens) {
  const int bits = std::bit_width(static_cast<uint32_t>(std::max(1, output_tokens) - 1));  // ceil(log2)
  return std::clamp(bits - 2, 0, kBuckets - 1);
}

int Buckets::prompt_bin(int prompt_tokens) {
  return std::min(static_cast<int>(4 * std::log2(std::max(1, prompt_tokens))), kPromptBins - 1);
}

int Buckets::predicted_bucket(int prompt_tokens) { return kTable[prompt_bin(prompt_tokens)]; }

int Buckets::end_of(int bucket, int max_tokens) {
  const int most = std::max(1, max_tokens);
  return bucket == kBuckets - 1 ? most : std::min(4 << bucket, most);
}

int Buckets::predict(const Request& request) const {
  return end_of(predicted_bucket(static_cast<int>(request.prompt.size())), request.max_tokens);
}

}  // namespace sluice
