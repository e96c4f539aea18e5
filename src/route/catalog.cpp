#include "route/catalog.h"

#include "route/least_loaded.h"
#include "route/prefix_aware.h"
#include "route/random.h"
#include "route/round_robin.h"

namespace sluice {

std::span<const RouterEntry> router_catalog() {
  static constexpr RouterEntry kEntries[] = {
      {"round-robin", "each in turn", [](const RouterConfig&) -> std::unique_ptr<Router> { return std::make_unique<RoundRobin>(); }},
      {"least-loaded", "the one with the fewest requests",
       [](const RouterConfig&) -> std::unique_ptr<Router> { return std::make_unique<LeastLoaded>(); }},
      {"prefix-aware", "the one that was sent most of the prompt before, while loads are close",
       [](const RouterConfig& c) -> std::unique_ptr<Router> { return std::make_unique<PrefixAware>(c.block_tokens); }},
      {"random", "any", [](const RouterConfig& c) -> std::unique_ptr<Router> { return std::make_unique<RandomRouter>(c.seed); }},
  };
  return kEntries;
}

Result<std::unique_ptr<Router>> make_router(const std::string& name, const RouterConfig& config) {
  std::string known;
  for (const RouterEntry& entry : router_catalog()) {
    if (entry.name == name) return entry.make(config);
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  return invalid_argument(fmt::format("--router does not know '{}'; it knows: {}", name, known), "--router");
}

}  // namespace sluice
