#include "route/prefix_aware.h"

#include <algorithm>

namespace sluice {

std::vector<uint64_t> PrefixAware::block_hashes(const Request& request) const {
  std::vector<uint64_t> hashes;
  const size_t block = static_cast<size_t>(block_tokens_);
  hashes.reserve(request.prompt.size() / block);
  uint64_t h = request.salt ^ 0x9e3779b97f4a7c15;
  for (size_t at = 0; at + block <= request.prompt.size(); at += block) {
    for (size_t i = at; i < at + block; ++i) {  // the finalizer of SplitMix64 over the chain
      h = (h ^ static_cast<uint32_t>(request.prompt[i])) * 0xbf58476d1ce4e5b9;
      h = (h ^ (h >> 27)) * 0x94d049bb133111eb;
      h ^= h >> 31;
    }
    hashes.push_back(h);
  }
  return hashes;
}

size_t PrefixAware::known(const Sent& sent, const std::vector<uint64_t>& hashes) {
  size_t n = 0;
  while (n < hashes.size() && sent.where.contains(hashes[n])) ++n;
  return n;
}

void PrefixAware::remember(Sent& sent, const std::vector<uint64_t>& hashes, size_t most) {
  // From the last block to the first: a block is always more recent than those that follow it, and goes after them.
  for (size_t i = hashes.size(); i-- > 0;) {
    if (const auto it = sent.where.find(hashes[i]); it != sent.where.end()) {
      sent.by_recency.splice(sent.by_recency.begin(), sent.by_recency, it->second);
    } else {
      sent.by_recency.push_front(hashes[i]);
      sent.where[hashes[i]] = sent.by_recency.begin();
    }
  }
  while (sent.by_recency.size() > most) {
    sent.where.erase(sent.by_recency.back());
    sent.by_recency.pop_back();
  }
}

ReplicaId PrefixAware::route(const Request& request, std::span<const ReplicaLoad> loads) {
  sent_.resize(std::max(sent_.size(), loads.size()));
  const std::vector<uint64_t> hashes = block_hashes(request);
  const auto [least, most] = std::ranges::minmax(loads, {}, &ReplicaLoad::outstanding);
  const bool far_apart = most.outstanding() - least.outstanding() > kFarApart &&
                         most.outstanding() > kFarApartRatio * least.outstanding();
  ReplicaId to = least_loaded(loads);
  if (!far_apart) {
    size_t longest = 0;
    ReplicaId best = to;
    for (ReplicaId i = 0; i < static_cast<ReplicaId>(loads.size()); ++i) {
      const size_t n = known(sent_[i], hashes);
      if (n > longest || (n == longest && n > 0 && loads[i].outstanding() < loads[best].outstanding())) longest = n, best = i;
    }
    if (static_cast<double>(longest) * block_tokens_ >= kLeastShare * static_cast<double>(request.prompt.size())) to = best;
  }
  remember(sent_[to], hashes, static_cast<size_t>(std::max(0, loads[to].total_blocks)));
  return to;
}

}  // namespace sluice
