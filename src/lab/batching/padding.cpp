#include "lab/batching/padding.h"

#include <algorithm>

namespace sluice::lab {

std::vector<std::vector<size_t>> batches_of(const Run& run) {
  std::vector<Nanos> ends;
  for (const StepRecord& s : run.steps)
    if (s.running == 0) ends.push_back(s.at);
  std::vector<std::vector<size_t>> batches(ends.size());
  for (size_t i = 0; i < run.records.size(); ++i)
    if (const RequestRecord& r = run.records[i]; r.ok)
      batches[static_cast<size_t>(std::ranges::lower_bound(ends, r.token_times.front()) - ends.begin())].push_back(i);
  return batches;
}

Padding padding_of(const Run& run) {
  const auto batches = batches_of(run);
  Padding p;
  p.batches = static_cast<double>(batches.size());
  for (const std::vector<size_t>& members : batches) {
    double prompts = 0, outputs = 0, longest_prompt = 0, longest_output = 0;
    for (const size_t i : members) {
      const RequestRecord& r = run.records[i];
      prompts += r.prompt_tokens;
      outputs += r.outputs();
      longest_prompt = std::max(longest_prompt, double(r.prompt_tokens));
      longest_output = std::max(longest_output, double(r.outputs()));
    }
    const auto n = static_cast<double>(members.size());
    p.useful += prompts + outputs;
    p.prompt_waste += n * longest_prompt - prompts;
    p.output_waste += n * longest_output - outputs;
  }
  return p;
}

}  // namespace sluice::lab
