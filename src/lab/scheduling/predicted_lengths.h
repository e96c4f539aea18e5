#pragma once
// A load whose requests end by themselves, below their max_tokens, so that a predictor of lengths has something to predict.

#include "lab/workloads.h"

namespace sluice::lab {

/// Two applications, one with short outputs and one with long ones, half and half; max_tokens is `most` for all.
/// `named`: each request says by its client which application it is of. `forced`: max_tokens is the length instead.
Load two_applications(int n, int short_mean, int long_mean, int most, bool named, bool forced);

}  // namespace sluice::lab
