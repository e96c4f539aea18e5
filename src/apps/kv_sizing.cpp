#include "apps/kv_sizing.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "exec/layered_arena.h"
#include "exec/virtual_arena.h"
#include "model/layers/decoder_model.h"
#include "weights/memory_check.h"

namespace sluice {
namespace {

// What a step works in: activations of a piece of rows, the logits of all that sample or are scored, and for
// attention's partial results, samplers and text a sum that no model has exceeded.
size_t work_bytes(const ModelInfo& info, const EngineOptions& options) {
  constexpr size_t kRest = size_t{64} << 20;
  const int64_t tokens = std::max(1, options.max_num_batched_tokens);
  const int64_t samples = std::clamp<int64_t>(options.max_num_seqs, 1, std::min<int64_t>(tokens, 1 << 16)) +
                          std::min<int64_t>(kMaxScoredRows, tokens);
  const int64_t rows = std::min(tokens, kPieceRows);
  const int64_t row_floats = 2 * info.hidden + 2 * int64_t{info.heads} * info.head_dim +
                             2 * int64_t{info.kv_heads} * info.head_dim + 3 * info.ffn;
  return static_cast<size_t>(rows * row_floats + samples * info.vocab_size) * sizeof(float) + kRest;
}

/// Nothing for auto.
Result<std::optional<KvFormats>> named_kv_formats(std::string_view name) {
  if (name == "auto") return std::optional<KvFormats>{};
  SLUICE_TRY(KvFormats formats, KvFormats::parse(name));
  return std::optional(std::move(formats));
}

Result<KvFormats> find_kv_formats(std::string_view name, const TensorSource& source) {
  SLUICE_TRY(std::optional<KvFormats> named, named_kv_formats(name));
  if (named) return *std::move(named);
  // As precise as the weights: float32 models keep float32, everything else has had less than f16's 11 bits to begin
  // with. A router or a gate in float32 does not make a model one.
  int64_t in_f32 = 0, in_bf16 = 0, all = 0;
  for (const TensorInfo& tensor : source.tensors()) {
    if (tensor.shape.rank < 2) continue;
    all += tensor.shape.elems();
    if (tensor.dtype == DType::f32) in_f32 += tensor.shape.elems();
    if (tensor.dtype == DType::bf16) in_bf16 += tensor.shape.elems();
  }
  return KvFormats(2 * in_f32 > all ? kKvF32 : in_bf16 > 0 ? kKvBF16 : kKvF16);
}

/// What looks into the keys and values of every layer, or moves them apart from each other, cannot serve a model that keeps
/// something else in some.
Status check_for_kv(const KvSpec& spec, const EngineOptions& o) {
  const bool state = spec.has(KvGroup::Kind::state);
  if (!state && !spec.has(KvGroup::Kind::latent)) return {};
  const std::pair<bool, const char*> asked[] = {{o.kv_retention != retention_catalog()[0].name, "--kv-retention"},
                                                {o.cache_reuse > 0, "--cache-reuse"},
                                                {o.segment_cache, "--prompt-schema and --enable-chunk-reuse"}};
  for (const auto& [on, flag] : asked)
    if (on)
      return invalid_argument(fmt::format("{}: layers of this model keep {}; it is for models whose layers all keep keys and values", flag,
                                          state ? "a recurrent state" : "latent rows"),
                              flag);
  return {};
}

/// A block also holds a recurrent state: where that is large, blocks are long.
int least_block(const KvSpec& spec, int wanted) {
  constexpr size_t kLargeState = size_t{64} << 10;
  constexpr int kLongBlock = 256;
  size_t bytes = 0;
  for (const KvGroup& group : spec.groups) bytes += group.state_bytes * static_cast<size_t>(group.layers);
  return bytes > kLargeState ? std::max(wanted, kLongBlock) : wanted;
}

/// What formats ask of the blocks.
Status check_blocks(const KvFormats& formats, const EngineOptions& options) {
  const int tokens = options.block_tokens, fitting = formats.fitting_block(tokens);
  if (tokens > 0 && fitting != tokens && tokens != EngineOptions{}.block_tokens)
    return invalid_argument(fmt::format("--block-size is {}; --kv-cache-dtype {} encodes {} tokens together: give a multiple of them", tokens,
                                        formats.name(), formats.fitting_block(1)),
                            "--block-size");
  if (options.kv_allocator == "virtual" && formats.single_by_token() == nullptr)
    return invalid_argument(fmt::format("--kv-allocator virtual with --kv-cache-dtype {}: a page group holds the tokens of one format that encodes each by "
                                        "itself; leave the allocator at paged",
                                        formats.name()),
                            "--kv-allocator");
  return {};
}

/// Layers that read the last tokens only: how many pages they have beside so many blocks, or why they have a part of every block.
struct RecentSizing {
  int reach = 0;
  double ratio = 1;
  std::string why_not = {};
  int block_tokens = 16, step_tokens = 0, max_num_seqs = 1;
  int64_t max_model_len = 2;

  RecentKv of(int64_t blocks) const {
    RecentKv kv{1, reach};
    if (reach == 0 || ratio >= 1 || !why_not.empty()) return {};
    // As many whole contexts as the blocks hold can run at once.
    const int64_t contexts = std::clamp<int64_t>(blocks * block_tokens / max_model_len, 1, std::max(1, max_num_seqs));
    const int64_t pages = std::max(kv.least(contexts, max_model_len, step_tokens, block_tokens), static_cast<int64_t>(std::ceil(ratio * static_cast<double>(blocks))));
    return pages < blocks ? RecentKv{static_cast<int>(pages), reach} : RecentKv{};
  }
  std::string note(int64_t blocks) const {
    if (reach == 0) return ratio == EngineFlags{}.swa_full_tokens_ratio || ratio == 1 ? "" : "; --swa-full-tokens-ratio has no use: all layers of this model read everything";
    if (ratio >= 1) return {};
    const RecentKv kv = of(blocks);
    if (!kv.any())
      return fmt::format("; layers that read the last tokens only keep all of their KV: {}", why_not.empty() ? "there are too few blocks for it to take less" : why_not);
    return fmt::format("; layers that read the last tokens only have {} pages in place of blocks (--swa-full-tokens-ratio {}), enough for {} long sequences at once",
                       kv.pages, ratio, (kv.pages - kv.most_of_step(step_tokens, block_tokens)) / kv.most_of(max_model_len, block_tokens));
  }
};

RecentSizing recent_sizing(const EngineFlags& flags, const KvSpec& spec, const KvSizing& sizing, int64_t max_model_len) {
  const EngineOptions& o = flags.engine;
  RecentSizing recent{spec.recent_reach(sizing.block_tokens), flags.swa_full_tokens_ratio, why_not_recent(flags.asked()), sizing.block_tokens, o.max_num_batched_tokens, o.max_num_seqs, max_model_len};
  if (!sizing.offload.layers.empty()) recent.why_not = "--kv-offload-layers moves whole blocks";
  if (sizing.formats.seals()) recent.why_not = fmt::format("--kv-cache-dtype {} encodes whole blocks", sizing.formats.name());
  return recent;
}

}  // namespace

Status check_kv_formats(const EngineFlags& flags) {
  SLUICE_TRY(const std::optional<KvFormats> named, named_kv_formats(flags.kv_cache_dtype));
  return named ? check_blocks(*named, flags.engine) : Status();
}

Result<KvSizing> size_kv_cache(const EngineFlags& flags, const TensorSource& source, const ModelPlan& plan) {
  SLUICE_TRY_STATUS(flags.check());
  KvSizing sizing;
  SLUICE_TRY(sizing.formats, find_kv_formats(flags.kv_cache_dtype, source));
  SLUICE_TRY_STATUS(sizing.formats.check(plan.info.layers));
  const EngineOptions& o = flags.engine;
  SLUICE_TRY_STATUS(check_for_kv(plan.kv, o));
  const int64_t positions = plan.info.max_positions;
  const auto retention = retention_of(o);
  for (int l = 0; l < plan.info.layers; ++l)
    if (o.cache_reuse > 0 && sizing.formats.of(l).elem_bits < 16)
      return invalid_argument(fmt::format("--cache-reuse rotates keys again at every cut of a conversation, which --kv-cache-dtype {} rounds too coarsely each time; give "
                                          "f16, bf16 or f32", sizing.formats.of(l).name), "--kv-cache-dtype");
  for (int l = 0; l < plan.info.layers; ++l) SLUICE_TRY_STATUS(KvEvictor::check(*retention, sizing.formats.of(l), plan.info));
  // Slots that a context takes, which under KV retention are fewer than its tokens.
  const auto slots_of = [&](int64_t tokens) { return int64_t{retention->slots_to_hold(static_cast<int>(tokens), static_cast<int>(tokens))}; };
  if ((retention->positions_in_cache() ? slots_of(o.max_model_len) : o.max_model_len) > positions)
    return invalid_argument(fmt::format("--max-model-len is {}; it must be from 2 to the {} positions that this model "
                                        "was made for, or 0 for as many as fit{}",
                                        o.max_model_len, positions,
                                        retention->evicts() && !retention->positions_in_cache() ? "; --kv-retention sink-window, which counts positions within the cache, goes beyond" : ""),
                            "--max-model-len");
  sizing.tile_tokens = sizing.formats.fitting_block(least_block(plan.kv, o.block_tokens));
  sizing.block_tokens = o.kv_allocator == "virtual"
                            ? VirtualArena::page_group_tokens(plan.kv, *sizing.formats.single_by_token(), o.block_tokens, static_cast<size_t>(flags.kv_page_group.bytes))
                            : sizing.tile_tokens;
  sizing.block_bytes = KvArena::block_bytes(plan.kv, sizing.formats, sizing.block_tokens);
  SLUICE_TRY(sizing.offload, flags.offload.resolve(plan.info.layers));
  if (!sizing.offload.layers.empty() && sizing.formats.single_by_token() == nullptr)
    return invalid_argument(fmt::format("--kv-offload-layers with --kv-cache-dtype {}: the windows hold one format that encodes each token by itself; "
                                        "choose such a one, or keep all layers in memory",
                                        sizing.formats.name()),
                            "--kv-offload-layers");
  constexpr int64_t kMostBlocks = 1 << 28;
  const auto store = [&](int64_t blocks) {
    return KvStoreOptions{.blocks = static_cast<int>(std::min(blocks, kMostBlocks)), .block_tokens = sizing.block_tokens, .offload = sizing.offload};
  };
  const auto blocks_for = [&](int64_t tokens) { return (slots_of(tokens) + sizing.block_tokens - 1) / sizing.block_tokens; };
  const size_t open_block = KvArena::open_block_bytes(plan.kv, sizing.formats, sizing.block_tokens);  // 0 but of block formats
  const auto open_of = [&](int64_t blocks) {
    return static_cast<size_t>(most_open_blocks(o.max_num_seqs, o.max_num_batched_tokens, sizing.block_tokens, static_cast<int>(std::min(blocks, kMostBlocks))));
  };
  const RecentSizing recent = recent_sizing(flags, plan.kv, sizing, o.max_model_len > 0 ? o.max_model_len : positions);
  const size_t page_bytes = KvArena::page_bytes(plan.kv, sizing.formats, sizing.block_tokens);
  const auto pool_bytes = [&](int64_t blocks) {
    const RecentKv kv = recent.of(blocks);
    return static_cast<size_t>(blocks) * sizing.block_bytes - (kv.any() ? static_cast<size_t>(blocks - kv.pages) * page_bytes : 0);
  };
  const auto memory_of = [&](int64_t blocks) {  // and of the rest, a file
    return sizing.offload.layers.empty() ? pool_bytes(blocks) + open_of(blocks) * open_block
                                         : LayeredArena::memory_bytes(plan.kv, *sizing.formats.single_by_token(), store(blocks));
  };
  // The least that can run, or what was asked for, must fit beside the weights. A size that is given may take all there
  // is.
  const size_t weights = plan.info.weight_bytes, work = work_bytes(plan.info, o);
  const size_t given = static_cast<size_t>(flags.kv_cache_memory.bytes),
               least = memory_of(blocks_for(std::max(2, o.max_model_len)));
  MemoryLimit limit = memory_limit();
  limit.available_bytes -= std::min(limit.available_bytes, flags.tiers.memory_bytes(sizing.block_bytes));
  if (given == 0)
    limit.available_bytes = static_cast<size_t>(flags.memory_utilization * static_cast<double>(limit.available_bytes));
  if (const Status fits = check_fits(source.metadata().origin(), weights, given > 0 ? given : least, work, limit); !fits.ok()) {
    Error error = fits.error();
    if (given == 0)
      error.message += fmt::format(" (--memory-utilization {} of what is free may be taken)", flags.memory_utilization);
    return error;
  }
  if (given > 0 && given < least)
    return invalid_argument(
        fmt::format("--kv-cache-memory-bytes is {}; it must be at least {}, which {} tokens take in blocks of {}{}",
                    given, least, std::max(2, o.max_model_len), sizing.block_tokens,
                    o.max_model_len > 0 ? " (--max-model-len)" : ""),
        "--kv-cache-memory-bytes");
  const int64_t wanted_len = o.max_model_len > 0 ? o.max_model_len : positions;
  const int64_t most = std::min(kMostBlocks, blocks_for(wanted_len) * std::max(1, o.max_num_seqs));
  const size_t budget = given > 0 ? given : std::min(memory_of(most), limit.available_bytes - weights - work);
  int64_t blocks = 0;
  for (int64_t step = kMostBlocks; step > 0; step /= 2)
    if (blocks + step <= kMostBlocks && memory_of(blocks + step) <= budget) blocks += step;
  if (given == 0) blocks = std::min(blocks, most);  // where those cost nothing
  const int64_t tokens = blocks * sizing.block_tokens;
  sizing.blocks = static_cast<int>(blocks);
  sizing.recent = recent.of(blocks);
  if (sizing.recent.any()) sizing.page_bytes = page_bytes;
  sizing.max_model_len = static_cast<int>(slots_of(wanted_len) <= tokens ? wanted_len : tokens);
  sizing.note = fmt::format("KV cache: {} ({} blocks of {} tokens, {}): {} tokens, {:.1f} sequences of {} tokens",
                            format_bytes(static_cast<double>(memory_of(blocks))), blocks,
                            sizing.block_tokens, sizing.formats.name(), tokens,
                            static_cast<double>(tokens) / static_cast<double>(slots_of(sizing.max_model_len)), sizing.max_model_len);
  sizing.note += recent.note(blocks);
  if (sizing.formats.seals()) {
    sizing.open_blocks = static_cast<int>(open_of(blocks));
    sizing.note += fmt::format("; a block is encoded when it is full, and {} of this are for {} blocks that are not",
                               format_bytes(static_cast<double>(open_of(blocks) * open_block)), sizing.open_blocks);
  }
  if (sizing.tile_tokens != o.block_tokens) sizing.note += fmt::format("; --block-size is raised from {} to {}", o.block_tokens, sizing.tile_tokens);
  if (sizing.max_model_len < wanted_len) sizing.note += fmt::format("; the model's own {} do not fit", wanted_len);
  if (!sizing.offload.layers.empty())
    sizing.note += fmt::format("; in a file {}: {}", format_bytes(static_cast<double>(LayeredArena::file_bytes(plan.kv, *sizing.formats.single_by_token(), store(blocks)))),
                               describe(sizing.offload));
  return sizing;
}

}  // namespace sluice
