#pragma once
// Output lengths by bucket: a classifier names the bucket (up to 4, 8, 16, ... 1024 tokens, or more) that requests like this one
// end in, and the prediction is the bucket's upper end. The papers classify the prompt's text by a fine-tuned language model;
// this one knows the prompt's length alone, and is a table of 64 entries, trained by tools/train_length_buckets.py on
// conversations. It says nothing about other services. An estimate changes the order of work alone.
// Paper: S3 (Jin et al., NeurIPS 2023); Zheng et al., Response length perception and sequence scheduling, NeurIPS 2023.

#include "sched/policies.h"

namespace sluice {

class Buckets final : public LengthPredictor {
 public:
  static constexpr int kBuckets = 10;
  static constexpr int kPromptBins = 64;       // quarter octaves
  static int prompt_bin(int prompt_tokens);    // [0, kPromptBins)
  static int bucket_of(int output_tokens);      // [0, kBuckets)
  static int predicted_bucket(int prompt_tokens);
  static int end_of(int bucket, int max_tokens);  // its upper end, from 1 to max_tokens

  int predict(const Request& request) const override;
};

}  // namespace sluice
