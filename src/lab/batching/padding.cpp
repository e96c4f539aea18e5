#include "lab/batching/padding.h"

#include <algorithm>

namespace sluice::lab {

Padding padding_of(const Run& run) {
  std::vector<Nanos> ends;
  for (const StepRecord& s : run.steps)
    if (s.running == 0) ends.push_back(s.at);
  struct Batch { double n = 0, prompts = 0, outputs = 0, longest_prompt = 0, longest_output = 0; };
  std::vector<Batch> batches(ends.size());
  for (const RequestRecord& r : run.records) {
    if (!r.ok) continue;
    Batch& b = batches[static_cast<size_t>(std::ranges::lower_bound(ends, r.token_times.front()) - ends.begin())];
    b.n += 1;
    b.prompts += r.prompt_tokens;
    b.outputs += r.outputs();
    b.longest_prompt = std::max(b.longest_prompt, double(r.prompt_tokens));
    b.longest_output = std::max(b.longest_output, double(r.outputs()));
  }
  Padding p;
  p.batches = static_cast<double>(batches.size());
  for (const Batch& b : batches) {
    p.useful += b.prompts + b.outputs;
    p.prompt_waste += b.n * b.longest_prompt - b.prompts;
    p.output_waste += b.n * b.longest_output - b.outputs;
  }
  return p;
}

}  // namespace sluice::lab
