#include "sim/arrivals.h"

#include <cmath>

namespace sluice {

double gamma_gap(Rng& rng, double rate, double shape) {
  if (shape == 1) return rng.next_exponential(rate);
  const double k = shape < 1 ? shape + 1 : shape, d = k - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = rng.next_normal(), v = std::pow(1 + c * x, 3);
    if (v <= 0 || std::log(1 - rng.next_double()) >= 0.5 * x * x + d - d * v + d * std::log(v)) continue;
    const double boost = shape < 1 ? std::pow(1 - rng.next_double(), 1 / shape) : 1;
    return d * v * boost / (shape * rate);
  }
}

double weibull_gap(Rng& rng, double rate, double shape) {
  return std::pow(-std::log(1 - rng.next_double()), 1 / shape) / (std::tgamma(1 + 1 / shape) * rate);
}

}  // namespace sluice
