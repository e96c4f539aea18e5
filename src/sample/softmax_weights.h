#pragma once
// exp over a whole row of logits: what drawing from 150k of them spends its time on.

#include <span>

namespace sluice {

/// weights[i] = exp((logits[i] - top) * inverse_temperature), 0 where that is below e^-87 or the logit is -inf. `top`
/// is the largest logit. Plain IEEE operations in one order: the same bits on every machine, within 2e-6 of the exact
/// value.
void softmax_weights(std::span<const float> logits, float top, float inverse_temperature, std::span<float> weights);

/// Their sum in double precision, in a fixed order.
double sum_of(std::span<const float> weights);

}  // namespace sluice
