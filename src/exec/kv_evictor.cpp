#include "exec/kv_evictor.h"

#include <algorithm>
#include <cstring>

#include "exec/kv_rows.h"

namespace sluice {
namespace {

KvRow row_at(const KvLayerView& layer, uint8_t* kv, std::span<const BlockId> blocks, int kv_head, int slot) {
  return {layer, kv, blocks[static_cast<size_t>(slot / layer.block_tokens)], slot % layer.block_tokens, kv_head};
}

/// The first of `kept` that does not stand where it goes.
size_t first_moved(std::span<const int32_t> kept) {
  size_t i = 0;
  while (i < kept.size() && kept[i] == static_cast<int32_t>(i)) ++i;
  return i;
}

template <class T>
void take(std::vector<T>& values, std::span<const int32_t> kept) {
  for (size_t i = 0; i < kept.size(); ++i) values[i] = values[static_cast<size_t>(kept[i])];
  values.resize(kept.size());
}

}  // namespace

KvEvictor::KvEvictor(std::shared_ptr<const KvRetention> policy, const Model& model, const Ops& ops, std::span<const KvLayerView> layers)
    : policy_(std::move(policy)), model_(model), ops_(ops), layers_(layers), kv_heads_(model.info().kv_heads) {
  CHECK(!(policy_->wants_scores() && policy_->positions_in_cache()), "rows are rotated by slots that differ from head to head");
  for (const KvLayerView& layer : layers_) {
    const Status fits = check(*policy_, *layer.format, model.info());
    CHECK(fits.ok(), "{}", fits.error().message);
  }
}

Status KvEvictor::check(const KvRetention& policy, const KvFormat& format, const ModelInfo& model) {
  if (!policy.evicts()) return {};
  if (model.windowed)
    return invalid_argument("--kv-retention: layers of this model have a window of their own, which counts positions; it is for models whose layers see everything",
                            "--kv-retention");
  if (format.block != nullptr)
    return invalid_argument(fmt::format("--kv-retention with --kv-cache-dtype {}: what stays is moved together token by token, which a format that encodes whole "
                                        "blocks cannot do; give another", format.name), "--kv-retention");
  if (policy.positions_in_cache() && format.elem_bits < 16)
    return invalid_argument(fmt::format("--kv-retention with positions in the cache rotates keys again as they move, which --kv-cache-dtype {} rounds too "
                                        "coarsely each time; give f16, bf16 or f32", format.name), "--kv-cache-dtype");
  return {};
}

std::span<const float> KvEvictor::scores(SeqId seq, int layer, int kv_head) const { return caches_.at(seq).scores[at(layer, kv_head)]; }
std::span<const int32_t> KvEvictor::positions(SeqId seq, int layer, int kv_head) const { return caches_.at(seq).positions[at(layer, kv_head)]; }

void KvEvictor::prepare(const StepPlan& plan) {
  for (const SeqId id : plan.ended) caches_.erase(id);
  for (const KvEviction& eviction : plan.evictions) evict(eviction);
  running_.clear();
  if (!policy_->wants_scores()) return;
  for (const PlanItem& item : plan.items) {
    Cache& cache = caches_[item.seq];
    if (item.first_pos == 0) {
      cache = {};
      cache.scores.resize(layers_.size() * static_cast<size_t>(kv_heads_));
      cache.positions.resize(cache.scores.size());
      cache.prompt_tokens = item.prompt_tokens;
      cache.max_tokens = item.request->max_tokens;
      // Who samples has given a seed, or wants no answer twice; a greedy answer is the same each time.
      cache.seed = item.request->sampling.temperature > 0 ? item.request->sampling.seed : 0;
    }
    for (size_t i = 0; i < cache.scores.size(); ++i) {
      CHECK(cache.positions[i].size() == static_cast<size_t>(item.first_pos - item.dropped), "sequence {}: {} slots of {}", item.seq,
            cache.positions[i].size(), item.first_pos - item.dropped);
      cache.scores[i].resize(cache.scores[i].size() + static_cast<size_t>(item.n_tokens));
      for (int k = 0; k < item.n_tokens; ++k) cache.positions[i].push_back(item.first_pos + k);
    }
    running_[item.blocks.data()] = &cache;
  }
}

// --- letting go --------------------------------------------------------------------------------------------------

void KvEvictor::evict(const KvEviction& e) {
  Cache* cache = policy_->wants_scores() ? &caches_.at(e.seq) : nullptr;
  std::vector<std::vector<int32_t>> kept(layers_.size() * static_cast<size_t>(kv_heads_));
  ops_.pool().run(static_cast<int>(kept.size()), [&](int task, int) {
    const auto i = static_cast<size_t>(task);
    const std::span<const float> scores = cache != nullptr ? std::span<const float>(cache->scores[i]) : std::span<const float>();
    const std::span<const int32_t> positions = cache != nullptr ? std::span<const int32_t>(cache->positions[i]) : std::span<const int32_t>();
    policy_->keep(scores, positions, e.next_position, e.slots_before, e.slots_after, kept[i]);
    move_rows(e, layers_[i / static_cast<size_t>(kv_heads_)], task % kv_heads_, kept[i]);
    if (cache == nullptr) return;
    take(cache->scores[i], kept[i]);
    take(cache->positions[i], kept[i]);
  });
  if (policy_->positions_in_cache())
    for (size_t l = 0; l < layers_.size(); ++l) rotate_moved(e, static_cast<int>(l), kept[l * static_cast<size_t>(kv_heads_)]);
  ++stats_.evictions;
  stats_.moved_rows += kept[0].size() - first_moved(kept[0]);
}

void KvEvictor::move_rows(const KvEviction& e, const KvLayerView& layer, int kv_head, std::span<const int32_t> kept) const {
  const size_t row = layer.format->row_bytes(layer.head_dim), side = static_cast<size_t>(layer.format->side_bytes);
  for (size_t i = first_moved(kept); i < kept.size(); ++i)  // forward: nothing is overwritten that is still to be moved
    for (uint8_t* kv : {layer.k, layer.v}) {
      const KvRow from = row_at(layer, kv, e.blocks, kv_head, kept[i]), to = row_at(layer, kv, e.blocks, kv_head, static_cast<int>(i));
      std::memcpy(to.row, from.row, row);
      std::memcpy(to.side, from.side, side);
    }
}

/// Keys that have moved are turned to their new slots.
void KvEvictor::rotate_moved(const KvEviction& e, int number, std::span<const int32_t> kept) const {
  const KvLayerView& layer = layers_[static_cast<size_t>(number)];
  const size_t first = first_moved(kept), dim = static_cast<size_t>(layer.head_dim), heads = static_cast<size_t>(layer.kv_heads);
  std::vector<int32_t> by;
  for (size_t i = first; i < kept.size(); ++i) by.push_back(static_cast<int32_t>(i) - kept[i]);
  std::vector<float> keys(by.size() * heads * dim);
  const auto each = [&](auto&& f) {
    ops_.pool().run(static_cast<int>(heads), [&](int head, int) {
      for (size_t i = 0; i < by.size(); ++i)
        f(row_at(layer, layer.k, e.blocks, head, static_cast<int>(first + i)), keys.data() + (i * heads + static_cast<size_t>(head)) * dim);
    });
  };
  each([&](const KvRow& at, float* x) { at.decode(layer, x); });
  model_.rotate_keys(number, by, layer.kv_heads, keys.data());
  each([&](const KvRow& at, const float* x) { at.encode(layer, x); });
}

// --- scores ------------------------------------------------------------------------------------------------------

void KvEvictor::before_attention(const LayerView& view) {
  ops_.pool().run(static_cast<int>(view.segments.size()) * kv_heads_, [&](int task, int) {
    const AttendSegment& segment = view.segments[static_cast<size_t>(task / kv_heads_)];
    observe(view, segment, task % kv_heads_, *running_.at(segment.blocks));
  });
}

void KvEvictor::observe(const LayerView& view, const AttendSegment& segment, int kv_head, Cache& cache) const {
  const KvLayerView& kv = view.kv;
  const auto slots = static_cast<size_t>(segment.first_pos + segment.rows), dim = static_cast<size_t>(kv.head_dim);
  const int group = view.heads / kv_heads_;
  static thread_local std::vector<float> keys, row, logits;
  keys.resize(dim * slots);  // [head_dim, slots], so that sums run along slots
  row.resize(dim);
  for (size_t s = 0; s < slots; ++s) {
    row_at(kv, kv.k, {segment.blocks, slots / static_cast<size_t>(kv.block_tokens) + 1}, kv_head, static_cast<int>(s)).decode(kv, row.data());
    for (size_t d = 0; d < dim; ++d) keys[d * slots + s] = row[d];
  }
  std::vector<float>& scores = cache.scores[at(view.layer, kv_head)];
  const std::span<const int32_t> positions = cache.positions[at(view.layer, kv_head)];
  for (int r = 0; r < segment.rows; ++r) {
    const auto seen = static_cast<size_t>(segment.first_pos + r + 1);
    for (int g = 0; g < group; ++g) {
      const int head = kv_head * group + g;
      const float* q = view.q + (static_cast<size_t>(segment.first_row + r) * static_cast<size_t>(view.heads) + static_cast<size_t>(head)) * dim;
      logits.assign(seen, 0.0f);
      for (size_t d = 0; d < dim; ++d) {
        const float* k = keys.data() + d * slots;
        const float qd = q[d] * view.scale;
        for (size_t s = 0; s < seen; ++s) logits[s] += qd * k[s];
      }
      policy_->observe({logits, positions.first(seen), positions[seen - 1], cache.prompt_tokens, cache.max_tokens, cache.seed, view.layer, head},
                       std::span<float>(scores).first(seen));
    }
  }
}

}  // namespace sluice
