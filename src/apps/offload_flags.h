#pragma once
// The flags of KV that is offloaded layer by layer (exec/layered_arena.h).

#include <string>

#include "base/options.h"
#include "engine/build_engine.h"
#include "exec/kv_store.h"

namespace sluice {

struct OffloadFlags {
  std::string layers = "0";
  double share = 1;
  std::string path;
  int depth = 1;

  void declare(OptionSet& options);
  /// What can be refused before the model is known.
  Status check(const EngineOptions& engine) const;
  /// For a model of so many layers; no layers where nothing is offloaded.
  Result<KvOffload> resolve(int model_layers) const;
};

/// "layers 4 to 7, 50% of their blocks, in /data, 1 layer read ahead", for the start log.
std::string describe(const KvOffload& offload);

}  // namespace sluice
