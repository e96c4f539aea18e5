#include "exec/kv_store.h"

#include "exec/kv_arena.h"
#include "exec/virtual_arena.h"

namespace sluice {

Result<std::unique_ptr<KvStore>> open_kv_store(const KvSpec& spec, const KvFormat& format,
                                               const KvStoreOptions& options) {
  if (options.allocator == "virtual") {
    SLUICE_TRY(auto arena, VirtualArena::open(spec, format, options));
    return std::unique_ptr<KvStore>(std::move(arena));
  }
  SLUICE_TRY(KvArena arena, KvArena::allocate(spec, format, options.blocks, options.block_tokens));
  return std::unique_ptr<KvStore>(std::make_unique<KvArena>(std::move(arena)));
}

}  // namespace sluice
