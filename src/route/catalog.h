#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "route/router.h"

namespace sluice {

struct RouterConfig {
  int block_tokens = 16;  // of the replicas' KV caches
  uint64_t seed = 0;
};

/// One line per technique; `--router NAME`.
struct RouterEntry {
  std::string_view name, help;
  std::unique_ptr<Router> (*make)(const RouterConfig& config);
};
std::span<const RouterEntry> router_catalog();
/// The error lists the known names.
Result<std::unique_ptr<Router>> make_router(const std::string& name, const RouterConfig& config);

}  // namespace sluice
