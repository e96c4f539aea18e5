#pragma once
// How memory is divided between weights, work and the KV cache.

#include <string>

#include "apps/engine_stack.h"

namespace sluice {

/// How memory is divided: asked before the weights are loaded, by the loader and by inspect alike.
struct KvSizing {
  KvFormats formats = kKvF32;
  int blocks = 0, block_tokens = 0;  // of the pool: --block-size, or a page group
  int tile_tokens = 0;               // of the blocks that kernels read: --block-size
  int open_blocks = 0;               // of a block format: how many may be open at once
  RecentKv recent;
  int max_model_len = 0;
  size_t block_bytes = 0;  // of one block in all layers, wherever they are
  size_t page_bytes = 0;   // and of those in pages
  KvOffload offload;
  std::string note;
};
/// resource_exhausted, with the sum, when weights, working memory and the KV cache that is given, or else the least
/// that can run, do not fit together.
Result<KvSizing> size_kv_cache(const EngineFlags& flags, const TensorSource& source, const ModelPlan& plan);
/// Whether the formats of --kv-cache-dtype are known and suit the blocks: what can be said without the model.
Status check_kv_formats(const EngineFlags& flags);

}  // namespace sluice
