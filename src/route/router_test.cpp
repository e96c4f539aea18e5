#include <gtest/gtest.h>

#include <map>

#include "base/rng.h"
#include "route/catalog.h"

namespace sluice {
namespace {

Request prompt_of(uint64_t seed, int shared, int own) {
  Request r;
  Rng common(99), rng(seed);
  for (int i = 0; i < shared; ++i) r.prompt.push_back(static_cast<TokenId>(common.below(1000)));
  for (int i = 0; i < own; ++i) r.prompt.push_back(static_cast<TokenId>(rng.below(1000)));
  return r;
}

std::vector<ReplicaLoad> equal_loads(int n) { return std::vector<ReplicaLoad>(static_cast<size_t>(n), {1, 1, 1000, 500}); }

TEST(Router, EveryPolicyIsValidDeterministicAndServesOneReplica) {
  for (const RouterEntry& entry : router_catalog()) {
    const auto a = entry.make({16, 5}), b = entry.make({16, 5});
    Rng rng(3);
    for (int i = 0; i < 500; ++i) {
      const int n = i < 100 ? 1 : static_cast<int>(rng.between(1, 5));
      std::vector<ReplicaLoad> loads;
      for (int k = 0; k < n; ++k) loads.push_back({static_cast<int>(rng.below(20)), static_cast<int>(rng.below(20)), 100, static_cast<int>(rng.below(100))});
      const Request request = prompt_of(static_cast<uint64_t>(i), 40, static_cast<int>(rng.between(1, 100)));
      const ReplicaId to = a->route(request, loads);
      ASSERT_TRUE(to >= 0 && to < n) << entry.name;
      ASSERT_EQ(to, b->route(request, loads)) << entry.name;
    }
  }
  const auto unknown = make_router("nearest", {});
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.error().message.find("prefix-aware"), std::string::npos);
}

TEST(Router, RoundRobinAndRandomSpreadEvenly) {
  for (const char* name : {"round-robin", "random"}) {
    const auto router = make_router(name, {16, 1}).value();
    std::map<ReplicaId, int> got;
    for (int i = 0; i < 4000; ++i) ++got[router->route(prompt_of(1, 0, 4), equal_loads(4))];
    for (const auto& [replica, n] : got) EXPECT_NEAR(n, 1000, std::string_view(name) == "random" ? 120 : 0) << name;
    EXPECT_EQ(got.size(), 4u);
  }
}

TEST(Router, LeastLoadedTakesTheShortestQueue) {
  const auto router = make_router("least-loaded", {}).value();
  std::vector<ReplicaLoad> loads = {{4, 1, 10, 5}, {0, 3, 10, 1}, {3, 0, 10, 2}};
  EXPECT_EQ(router->route(prompt_of(1, 0, 4), loads), 2);  // as many as replica 1, and more blocks
  loads[1].waiting = 1;
  EXPECT_EQ(router->route(prompt_of(1, 0, 4), loads), 1);
}

TEST(Router, PrefixAwareFollowsThePrefixUntilLoadsAreFarApart) {
  const auto router = make_router("prefix-aware", {16, 0}).value();
  auto loads = equal_loads(3);
  loads[1].running = 0;
  EXPECT_EQ(router->route(prompt_of(1, 64, 8), loads), 1);  // nothing known: the least loaded
  loads[1].running = 6;
  EXPECT_EQ(router->route(prompt_of(2, 64, 8), loads), 1);  // 64 of 72 tokens were sent there
  EXPECT_NE(router->route(prompt_of(3, 64, 80), loads), 1);  // less than half
  EXPECT_NE(router->route(prompt_of(4, 0, 64), loads), 1);
  loads[1].running = 60;
  EXPECT_NE(router->route(prompt_of(5, 64, 8), loads), 1);
  Request tenant = prompt_of(6, 64, 8);
  tenant.salt = 7;  // whose cache entries are others
  loads[1].running = 6;
  EXPECT_NE(router->route(tenant, loads), 1);
}

TEST(Router, PrefixAwareForgetsWhatNoCacheCanHold) {
  const auto router = make_router("prefix-aware", {16, 0}).value();
  std::vector<ReplicaLoad> loads = {{0, 0, 8, 8}, {1, 0, 8, 8}};
  EXPECT_EQ(router->route(prompt_of(1, 64, 0), loads), 0);
  for (uint64_t i = 10; i < 13; ++i) router->route(prompt_of(i, 0, 64), loads);  // 12 other blocks: more than its 8
  loads[0].running = 3;
  EXPECT_EQ(router->route(prompt_of(2, 64, 0), loads), 1);
}

}  // namespace
}  // namespace sluice
