#include "lab/scheduling/predicted_lengths.h"

#include <algorithm>

#include "sim/sim_executor.h"

namespace sluice::lab {

Load two_applications(int n, int short_mean, int long_mean, int most, bool named, bool forced) {
  constexpr int kVocab = 32'000;
  Rng rng(21);
  Load load;
  for (int i = 0; i < n; ++i) {
    const bool is_short = rng.below(2) == 0;
    const int mean = is_short ? short_mean : long_mean;
    const int length = std::clamp(static_cast<int>(mean * (0.5 + rng.next_exponential(2))), 1, most);
    Request r = forced_request(random_tokens(rng, kVocab, 32), forced ? length : most, static_cast<uint64_t>(i));
    if (named) r.client = is_short ? "short" : "long";
    // The token that the simulator will make up there ends it.
    if (!forced) r.stop_token_ids = {SimExecutor::token_at(r, 0, r.prompt.size() + static_cast<size_t>(length) - 1)};
    load.requests.push_back(std::move(r));
  }
  return load;
}

}  // namespace sluice::lab
