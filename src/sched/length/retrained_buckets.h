#pragma once
// Output lengths by bucket, retrained on what this server's own requests came to: the table of buckets.h until enough
// requests with prompts of that length have ended here; then the bucket that most of the recent ones ended in. So a
// service unlike the conversations of the table's training corrects its mispredictions by itself. An estimate changes the
// order of work alone.
// Paper: S3 (Jin et al., NeurIPS 2023), section 3.3: mispredicted requests are kept, and the predictor is retrained on them.

#include <array>
#include <cstdint>
#include <unordered_map>

#include "sched/length/buckets.h"

namespace sluice {

class RetrainedBuckets final : public LengthPredictor {
 public:
  static constexpr int kLeast = 20;    // ends of one prompt length before they count more than the table
  static constexpr int kMemory = 256;  // at so many, all of a prompt length weigh half

  int predict(const Request& request) const override;
  int predicted_bucket(int prompt_tokens) const;

  void on_new(const Sequence& seq) override;
  void on(const Event& event) override;

 private:
  struct Ends {
    std::array<int, Buckets::kBuckets> in{};
    int all = 0;
  };
  std::array<Ends, Buckets::kPromptBins> ends_;
  std::unordered_map<SeqId, int> running_;  // prompt bin
};

}  // namespace sluice
