#include "kv/retention/keyformer.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"

namespace sluice {
namespace {

constexpr uint32_t kLane = 0x6b65;  // no other draw of a request has it

float gumbel(uint32_t bits) {
  const float u = (static_cast<float>(bits >> 8) + 0.5f) * 0x1p-24f;  // in (0, 1)
  return -std::log(-std::log(u));
}

}  // namespace

void Keyformer::observe(const RowLook& look, std::span<float> scores) const {
  static thread_local std::vector<float> x, scratch;
  const float steps = static_cast<float>(std::clamp(look.position + 1 - look.prompt_tokens, 0, look.max_tokens));
  const float tau = 1 + (tuning_.tau_end - 1) * steps / static_cast<float>(std::max(1, look.max_tokens));
  x.assign(look.logits.begin(), look.logits.end());
  if (tuning_.noise != 0) {
    const RngKey key{look.seed, static_cast<uint32_t>(look.layer * 4096 + look.head)};
    std::array<uint32_t, 4> words{};
    int32_t drawn = -1;  // the group of four tokens that they are for
    for (size_t i = 0; i < x.size(); ++i) {
      const int32_t at = look.positions[i];
      if (drawn != at / 4) words = philox(key, static_cast<uint64_t>(look.position) << 32 | static_cast<uint64_t>(drawn = at / 4), kLane);
      x[i] += tuning_.noise * gumbel(words[static_cast<size_t>(at % 4)]);
    }
  }
  if (tau != 1)
    for (float& v : x) v /= tau;
  add_softmax(x, scratch, scores);
}

}  // namespace sluice
