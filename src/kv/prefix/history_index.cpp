#include "kv/prefix/history_index.h"

#include <algorithm>

namespace sluice {
namespace {
constexpr int kMostTried = 32;
}

void HistoryIndex::note(CacheSalt salt, std::span<const TokenId> tokens, int full_blocks, const BlockTable& table) {
  const auto size = static_cast<size_t>(pool_.block_tokens());
  for (int k = full_blocks - 1; k >= 0; --k) {
    const BlockId id = table[k].id();
    const std::span<const TokenId> block = tokens.subspan(static_cast<size_t>(k) * size, size);
    const BlockId before = k == 0 ? kNoBlock : table[k - 1].id();
    Record& r = records_[id];
    if (r.salt == salt && r.position == k * pool_.block_tokens() && r.before == before && std::ranges::equal(r.tokens, block)) continue;
    forget(id);
    r = {salt, hash_of(salt, block), {block.begin(), block.end()}, k * pool_.block_tokens(), before};
    blocks_.emplace(r.hash, id);
  }
}

void HistoryIndex::forget(BlockId id) {
  Record& r = records_[id];
  if (r.tokens.empty()) return;
  const auto [begin, end] = blocks_.equal_range(r.hash);
  blocks_.erase(std::find_if(begin, end, [id](const auto& entry) { return entry.second == id; }));
  r = {};
}

bool HistoryIndex::holds(BlockId id, CacheSalt salt, std::span<const TokenId> block) const {
  return pool_.is_cached(id) && records_[id].salt == salt && std::ranges::equal(records_[id].tokens, block);
}

std::optional<KeptRun> HistoryIndex::find(CacheSalt salt, std::span<const TokenId> tokens) const {
  const auto size = static_cast<size_t>(pool_.block_tokens());
  if (tokens.size() < size) return std::nullopt;
  std::vector<BlockId> best;
  const auto candidates = [&](std::span<const TokenId> block) { return blocks_.equal_range(hash_of(salt, block)); };
  const auto [begin, end] = candidates(tokens.first(size));
  int tried = 0;  // a text that repeats itself has as many candidates as blocks
  for (auto it = begin; it != end && tried < kMostTried; ++it, ++tried) {
    if (!holds(it->second, salt, tokens.first(size))) continue;
    std::vector<BlockId> run = {it->second};
    for (size_t at = size; at + size <= tokens.size(); at += size) {
      auto [next, last] = candidates(tokens.subspan(at, size));
      const auto follows = [&](BlockId id) {
        return records_[id].before == run.back() && records_[id].position == records_[run.back()].position + pool_.block_tokens() &&
               holds(id, salt, tokens.subspan(at, size));
      };
      for (int looked = 0; next != last && !follows(next->second);) next = ++looked < kMostTried ? std::next(next) : last;
      if (next == last) break;
      run.push_back(next->second);
    }
    if (run.size() > best.size()) best = std::move(run);
  }
  if (best.empty()) return std::nullopt;
  KeptRun out;
  out.position = records_[best[0]].position;
  out.block_tokens = pool_.block_tokens();
  for (const BlockId id : best) out.blocks.push_back(pool_.share(id));
  int position = out.position;
  for (BlockId id = records_[best[0]].before; id != kNoBlock && pool_.is_cached(id); id = records_[id].before) {
    position -= pool_.block_tokens();
    if (records_[id].position != position) break;  // it is something else's now
    out.above.push_back(pool_.share(id));
  }
  return out;
}

}  // namespace sluice
