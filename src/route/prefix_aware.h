#pragma once
// Prefix-aware routing: a request goes to the replica that was sent the longest part of its prompt before, so that its
// prefix cache has it; unless that part is less than half of the prompt, or the loads are far apart: then to the least loaded.
// The rule of SGLang v0.4's cache-aware load balancer (2024); the trade of reuse against balance is that of Preble
// (Srivatsa et al., ICLR 2025). Approximate in what it believes of the caches (it sees only what it sent, and hashes alone), which
// costs time and never a result: lossless.

#include <list>
#include <unordered_map>
#include <vector>

#include "route/router.h"

namespace sluice {

class PrefixAware final : public Router {
 public:
  explicit PrefixAware(int block_tokens) : block_tokens_(block_tokens) {}
  ReplicaId route(const Request& request, std::span<const ReplicaLoad> loads) override;

 private:
  /// Hashes of prompt blocks, each of all tokens up to its end; as many as the replica's cache has blocks, the least
  /// recently sent forgotten first.
  struct Sent {
    std::list<uint64_t> by_recency;  // the newest first
    std::unordered_map<uint64_t, std::list<uint64_t>::iterator> where;
  };
  std::vector<uint64_t> block_hashes(const Request& request) const;
  static size_t known(const Sent& sent, const std::vector<uint64_t>& hashes);
  static void remember(Sent& sent, const std::vector<uint64_t>& hashes, size_t most);

  static constexpr double kLeastShare = 0.5;  // of the prompt
  static constexpr int kFarApart = 8;         // requests, between the most and the least loaded
  static constexpr double kFarApartRatio = 1.5;

  int block_tokens_;
  std::vector<Sent> sent_;  // by replica
};

}  // namespace sluice
