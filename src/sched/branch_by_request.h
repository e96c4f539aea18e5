#pragma once
// Each request branches in its own way: beams where it asks for them, else samples.

#include "sched/beam_search.h"
#include "sched/parallel_sampling.h"

namespace sluice {

class BranchByRequest final : public Branching {
 public:
  explicit BranchByRequest(int max_model_len) : beams_(max_model_len) {}

  std::vector<Fork> after(const Sequence& seq, const SampledToken& token) override {
    return seq.request->beam_width > 0 ? beams_.after(seq, token) : samples_.after(seq, token);
  }
  bool holds(SeqId id) const override { return beams_.holds(id); }
  std::vector<Regroup> regroup() override { return beams_.regroup(); }
  void on(const Event& event) override { beams_.on(event); }

 private:
  ParallelSampling samples_;
  BeamSearch beams_;
};

}  // namespace sluice
