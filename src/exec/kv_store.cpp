#include "exec/kv_store.h"

#include "exec/kv_arena.h"
#include "exec/layered_arena.h"
#include "exec/virtual_arena.h"

namespace sluice {

Result<std::unique_ptr<KvStore>> open_kv_store(const KvSpec& spec, const KvFormat& format,
                                               const KvStoreOptions& options) {
  if (options.allocator == "virtual") {
    if (!options.offload.layers.empty())
      return invalid_argument("--kv-allocator virtual maps every sequence's KV at addresses of its own, and windows have theirs: "
                              "--kv-offload-layers needs --kv-allocator paged or static", "--kv-offload-layers");
    SLUICE_TRY(auto arena, VirtualArena::open(spec, format, options));
    return std::unique_ptr<KvStore>(std::move(arena));
  }
  if (!options.offload.layers.empty()) {
    SLUICE_TRY(auto arena, LayeredArena::open(spec, format, options));
    return std::unique_ptr<KvStore>(std::move(arena));
  }
  SLUICE_TRY(KvArena arena, KvArena::allocate(spec, format, options.blocks, options.block_tokens, options.open_blocks));
  return std::unique_ptr<KvStore>(std::make_unique<KvArena>(std::move(arena)));
}

}  // namespace sluice
