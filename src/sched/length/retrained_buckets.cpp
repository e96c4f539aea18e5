#include "sched/length/retrained_buckets.h"

#include <algorithm>

namespace sluice {

int RetrainedBuckets::predicted_bucket(int prompt_tokens) const {
  const Ends& ends = ends_[static_cast<size_t>(Buckets::prompt_bin(prompt_tokens))];
  if (ends.all < kLeast) return Buckets::predicted_bucket(prompt_tokens);
  return static_cast<int>(std::ranges::max_element(ends.in) - ends.in.begin());
}

int RetrainedBuckets::predict(const Request& request) const {
  return Buckets::end_of(predicted_bucket(static_cast<int>(request.prompt.size())), request.max_tokens);
}

void RetrainedBuckets::on_new(const Sequence& seq) {
  // The lines that a search drops end early, and say nothing about lengths.
  if (seq.request->beam_width == 0) running_.emplace(seq.id, Buckets::prompt_bin(seq.prompt_tokens()));
}

void RetrainedBuckets::on(const Event& event) {
  if (event.kind != Event::Kind::finished) return;
  const auto it = running_.find(event.seq);
  if (it == running_.end()) return;
  if (event.tokens > 0) {  // else it was cancelled before it had begun
    Ends& ends = ends_[static_cast<size_t>(it->second)];
    ++ends.in[static_cast<size_t>(Buckets::bucket_of(event.tokens))];
    if (++ends.all == kMemory) {
      ends.all = 0;
      for (int& n : ends.in) ends.all += n /= 2;
    }
  }
  running_.erase(it);
}

}  // namespace sluice
