#include "sample/softmax_weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace sluice {
namespace {

float weight_of(float logit, float top, float inverse_temperature) {
  float weight = -1;
  softmax_weights({&logit, 1}, top, inverse_temperature, {&weight, 1});
  return weight;
}

TEST(SoftmaxWeights, AreExpOfTheDistanceToTheTop) {
  for (const float inverse_temperature : {0.5f, 1.0f, 1.7f}) {
    std::vector<float> logits, weights;
    for (float z = -86 / inverse_temperature + 5; z <= 5; z += 0.00173f) logits.push_back(z);
    weights.resize(logits.size());
    softmax_weights(logits, 5, inverse_temperature, weights);
    for (size_t i = 0; i < logits.size(); ++i) {
      // What the subtraction and the product round is a part of the argument.
      const double x = (static_cast<double>(logits[i]) - 5) * static_cast<double>(inverse_temperature),
                   exact = std::exp(x);
      ASSERT_NEAR(weights[i], exact, exact * (2e-7 - 1.3e-7 * x)) << logits[i];
    }
  }
}

TEST(SoftmaxWeights, AreOneAtTheTopAndZeroFarBelow) {
  EXPECT_EQ(weight_of(-3.25f, -3.25f, 1), 1.0f);
  EXPECT_EQ(weight_of(-200, 0, 1), 0.0f);
  EXPECT_EQ(weight_of(-1, 0, 1e5f), 0.0f);
  EXPECT_EQ(weight_of(-3e38f, 3e38f, 1e5f), 0.0f);
  EXPECT_EQ(weight_of(-std::numeric_limits<float>::infinity(), 0, 1), 0.0f);
}

TEST(SoftmaxWeights, SumEveryTail) {
  std::vector<float> weights;
  for (int n = 0; n < 40; ++n) {
    EXPECT_EQ(sum_of(weights), n * (n + 1) / 2.0);
    weights.push_back(static_cast<float>(n + 1));
  }
}

}  // namespace
}  // namespace sluice
