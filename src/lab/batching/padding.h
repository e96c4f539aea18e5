#pragma once
// What batches that run to their end would compute for nothing, were they computed as rectangles, as engines without
// paged attention do: every prompt as long as its batch's longest, every output too.

#include "lab/run.h"

namespace sluice::lab {

struct Padding {
  double batches = 0, useful = 0;        // tokens
  double prompt_waste = 0, output_waste = 0;
  double share() const { return (prompt_waste + output_waste) / (useful + prompt_waste + output_waste); }
};
/// Of a run under --batching static or windowed: a batch ends when nothing runs.
Padding padding_of(const Run& run);

}  // namespace sluice::lab
