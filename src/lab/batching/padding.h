#pragma once
// What batches that run to their end would compute for nothing, were they computed as rectangles, as engines without
// paged attention do: every prompt as long as its batch's longest, every output too.

#include "lab/run.h"

namespace sluice::lab {

/// Of a run under --batching static or windowed, the requests of each batch: it ends when nothing runs.
std::vector<std::vector<size_t>> batches_of(const Run& run);

struct Padding {
  double batches = 0, useful = 0;        // tokens
  double prompt_waste = 0, output_waste = 0;
  double share() const { return (prompt_waste + output_waste) / (useful + prompt_waste + output_waste); }
};
Padding padding_of(const Run& run);

}  // namespace sluice::lab
