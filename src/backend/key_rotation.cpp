#include "backend/key_rotation.h"

#include <cmath>

#include "backend/row_ops.h"
#include "base/check.h"

namespace sluice {

KeyRotation::KeyRotation(std::span<const float> inv_freq, RopeStyle style_of, int tokens)
    : style(style_of), block_tokens(tokens), pairs(static_cast<int>(inv_freq.size())) {
  for (int t = 0; t < tokens; ++t)
    for (const float f : inv_freq) {
      const double angle = static_cast<double>(static_cast<float>(t) * f);
      cos.push_back(static_cast<float>(std::cos(angle)));
      sin.push_back(static_cast<float>(std::sin(angle)));
      minus_sin.push_back(-sin.back());
    }
}

void KeyRotation::turn(Way way, const RowOps& ops, float* x, int head_dim, int first, int count) const {
  CHECK(2 * pairs <= head_dim && first + count <= block_tokens, "tokens {} to {} of {}, {} pairs of {} values", first, first + count,
        block_tokens, pairs, head_dim);
  const std::vector<float>& sines = way == Way::forth ? sin : minus_sin;
  for (int t = first; t < first + count; ++t, x += head_dim) {
    const auto at = static_cast<size_t>(t) * static_cast<size_t>(pairs);
    ops.rope({x, 1, head_dim, pairs, style == RopeStyle::interleaved, cos.data() + at, sines.data() + at});
  }
}

}  // namespace sluice
