#include "exec/kv_store.h"

#include <algorithm>

#include "exec/kv_arena.h"
#include "exec/layered_arena.h"
#include "exec/virtual_arena.h"

namespace sluice {

int most_open_blocks(int max_num_seqs, int max_num_batched_tokens, int block_tokens, int blocks) {
  // The rows of a sequence in one step touch a block, for all but the first of them another, and one for every block_tokens.
  const int64_t most = int64_t{2} * max_num_seqs + max_num_batched_tokens / block_tokens;
  return static_cast<int>(std::min<int64_t>(most, blocks));
}

Result<std::unique_ptr<KvStore>> open_kv_store(const KvSpec& spec, const KvFormats& formats,
                                               const KvStoreOptions& options) {
  const bool plain = !spec.has(KvGroup::Kind::state) && !spec.has(KvGroup::Kind::latent);
  if (!plain && (options.allocator == "virtual" || !options.offload.layers.empty()))
    return invalid_argument("page groups and windows hold keys and values, and this model has layers that keep a recurrent state or latent "
                            "rows: it needs --kv-allocator paged or static, without --kv-offload-layers",
                            options.allocator == "virtual" ? "--kv-allocator" : "--kv-offload-layers");
  CHECK(options.pages == 0 || (options.allocator == "paged" && options.offload.layers.empty()), "pages under {}", options.allocator);
  if (options.allocator == "virtual") {
    if (!options.offload.layers.empty())
      return invalid_argument("--kv-allocator virtual maps every sequence's KV at addresses of its own, and windows have theirs: "
                              "--kv-offload-layers needs --kv-allocator paged or static", "--kv-offload-layers");
    if (formats.single_by_token() == nullptr)
      return invalid_argument(fmt::format("page groups hold one format that encodes token by token, not {}", formats.name()), "--kv-allocator");
    SLUICE_TRY(auto arena, VirtualArena::open(spec, *formats.single_by_token(), options));
    return std::unique_ptr<KvStore>(std::move(arena));
  }
  if (!options.offload.layers.empty()) {
    if (formats.single_by_token() == nullptr)
      return invalid_argument(fmt::format("the windows of --kv-offload-layers hold one format that encodes token by token, not {}", formats.name()),
                              "--kv-offload-layers");
    SLUICE_TRY(auto arena, LayeredArena::open(spec, *formats.single_by_token(), options));
    return std::unique_ptr<KvStore>(std::move(arena));
  }
  SLUICE_TRY(KvArena arena, KvArena::allocate(spec, formats, options.blocks, options.block_tokens, options.open_blocks, options.pages));
  return std::unique_ptr<KvStore>(std::make_unique<KvArena>(std::move(arena)));
}

}  // namespace sluice
