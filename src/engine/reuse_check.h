#pragma once
#include "engine/engine.h"

namespace sluice {

/// Whether the request's segments are such as this engine can serve (sched/kv_reuse.h). Errors name "prompt_cache".
Status check_reuse(const Request& request, const EngineConfig& config);

}  // namespace sluice
