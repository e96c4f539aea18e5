#pragma once
// Gaps between arrivals.

#include "base/rng.h"

namespace sluice {

/// A gamma-distributed gap with mean 1/rate and this shape (Marsaglia and Tsang, 2000); shape 1 is exponential: Poisson arrivals.
double gamma_gap(Rng& rng, double rate, double shape);
/// A Weibull-distributed gap with mean 1/rate and this shape.
double weibull_gap(Rng& rng, double rate, double shape);

}  // namespace sluice
