#include "text/tokenizer/models/bpe.h"

#include <algorithm>
#include <functional>

#include "text/tokenizer/models/merge_queue.h"
#include "text/tokenizer/step_count.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

/// (left, right) -> (rank, merged), open addressing with linear probing.
struct BpeModel::MergeTable {
  struct Entry {
    uint64_t key = kEmpty;
    uint32_t rank = 0;
    TokenId merged = -1;
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};

  explicit MergeTable(const std::vector<BpeMerge>& merges) {
    size_t capacity = 16;
    while (capacity < merges.size() + merges.size() / 2) capacity *= 2;
    entries.resize(capacity);
    mask = capacity - 1;
    for (const BpeMerge& m : merges) {
      Entry& entry = entries[slot(key_of(m.left, m.right))];
      if (entry.key == kEmpty) entry = {key_of(m.left, m.right), m.rank, m.merged};
    }
  }
  static uint64_t key_of(TokenId left, TokenId right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  size_t slot(uint64_t key) const {
    uint64_t h = (key ^ key >> 30) * 0xbf58476d1ce4e5b9ull;
    h = (h ^ h >> 27) * 0x94d049bb133111ebull;
    size_t at = (h ^ h >> 31) & mask;
    while (entries[at].key != kEmpty && entries[at].key != key) at = (at + 1) & mask;
    return at;
  }
  const Entry* find(TokenId left, TokenId right) const {
    if (left < 0 || right < 0) return nullptr;
    const Entry& entry = entries[slot(key_of(left, right))];
    return entry.key == kEmpty ? nullptr : &entry;
  }

  std::vector<Entry> entries;
  size_t mask = 0;
};

struct BpeModel::Symbol {
  TokenId id = -1;                // -1: no symbol of the vocabulary
  uint32_t begin = 0, bytes = 0;  // bytes == 0: merged into the symbol before it
  int32_t previous = -1, next = -1;
};

struct BpeModel::Workspace {
  std::vector<Symbol> symbols;
  MergeQueue queue;
  struct Origin {
    TokenId left, right;
    uint32_t left_bytes;
  };
  std::unordered_map<TokenId, Origin> origins;  // of unused pieces: the last pair that made each
  struct Emission {
    TokenId id;
    uint32_t begin, bytes;
  };
  std::vector<Emission> emissions;  // a stack
};

Status add_spelled_merge(BpeSpec& spec, std::string_view left, std::string_view right, std::string_view merged) {
  const auto id_of = [&](std::string_view text) { return spec.pieces.find(text).value_or(-1); };
  const size_t rank = spec.merges.size();
  const BpeMerge merge{id_of(left), id_of(right), id_of(merged), static_cast<uint32_t>(rank)};
  const auto shown = [](std::string_view text) { return to_valid_utf8(text.substr(0, 100)); };
  if (merge.left < 0 || merge.right < 0 || merge.merged < 0)
    return corrupt_data(fmt::format("merge {} ('{}' and '{}'): {} is not in the vocabulary", rank, shown(left),
                                    shown(right),
                                    merge.left < 0    ? "the first"
                                    : merge.right < 0 ? "the second"
                                                      : "the result"));
  spec.merges.push_back(merge);
  return {};
}

Status add_ranked_merge(BpeSpec& spec, std::string_view merged, size_t left_bytes) {
  return add_spelled_merge(spec, merged.substr(0, left_bytes), merged.substr(left_bytes), merged);
}

Status add_ranked_merges(BpeSpec& spec, std::span<const MergeText> merges) {
  spec.merges.reserve(spec.merges.size() + merges.size());
  std::string merged;
  for (const auto& [left, right] : merges) {
    merged.assign(left).append(right);
    SLUICE_TRY_STATUS(add_ranked_merge(spec, merged, left.size()));
  }
  return {};
}

void add_scored_merges(BpeSpec& spec, const std::vector<std::pair<std::string, float>>& scored) {
  std::vector<float> scores;
  TokenId internal = spec.internal_from;
  for (const auto& [text, score] : scored) {
    scores.push_back(score);
    // A character that is in pieces but no piece itself takes part in merges under an internal id.
    if (text.size() > kMaxMergedBytes) continue;
    for (size_t at = 0, n; at < text.size(); at += n) {
      n = utf8_length(static_cast<unsigned char>(text[at]));
      if (spec.pieces.add(std::string_view(text).substr(at, n), internal)) ++internal;
    }
  }
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  for (const auto& [text, score] : scored) {
    if (text.size() > kMaxMergedBytes) continue;
    const auto rank =
        static_cast<uint32_t>(std::lower_bound(scores.begin(), scores.end(), score, std::greater<>()) - scores.begin());
    const TokenId merged = *spec.pieces.find(text);
    const std::string_view view = text;
    for (size_t at = 0; at < view.size(); at += utf8_length(static_cast<unsigned char>(view[at]))) {
      if (at == 0) continue;
      const auto left = spec.pieces.find(view.substr(0, at));
      if (!left) continue;
      const auto right = spec.pieces.find(view.substr(at));
      if (right) spec.merges.push_back({*left, *right, merged, rank});
    }
  }
}

BpeModel::BpeModel(BpeSpec spec) : spec_(std::move(spec)), single_byte_(BpeSpec::no_bytes()) {
  const auto is_single = [&](std::string_view text) {
    if (text.empty()) return false;
    return text.size() == (spec_.unit == BpeSpec::Unit::byte ? 1 : utf8_length(static_cast<unsigned char>(text[0])));
  };
  // Forbidding a whole token is safe, because its text can still be told by smaller ones; a single unit has none.
  TokenId top = -1;
  for (const TokenId id : spec_.forbidden) top = std::max(top, id);
  std::vector<bool> forbidden(static_cast<size_t>(top) + 1);  // the set as bits: it is asked of every piece and merge
  for (const TokenId id : spec_.forbidden) forbidden[static_cast<size_t>(id)] = true;
  const auto is_forbidden = [&](TokenId id) { return id <= top && forbidden[static_cast<size_t>(id)]; };
  spec_.pieces.remove_if([&](std::string_view text, TokenId id) { return is_forbidden(id) && !is_single(text); });
  std::erase_if(spec_.merges, [&](const BpeMerge& merge) { return is_forbidden(merge.merged); });
  for (const BpeMerge& merge : spec_.merges) ranks_ = std::max(ranks_, merge.rank + 1);
  table_ = std::make_unique<MergeTable>(spec_.merges);
  spec_.merges = {};
  for (size_t b = 0; b < 256; ++b) {
    const char text = static_cast<char>(b);
    single_byte_[b] = spec_.pieces.find({&text, 1}).value_or(-1);
  }
}

BpeModel::~BpeModel() = default;

std::optional<TokenId> BpeModel::find(std::string_view text) const {
  const auto id = spec_.pieces.find(text);
  return id && *id < spec_.internal_from ? id : std::nullopt;
}

std::optional<size_t> BpeModel::longest_token_bytes() const {
  for (size_t b = 0; b < 256; ++b) {
    const TokenId id = single_byte_[b];
    const bool is_symbol = spec_.unit == BpeSpec::Unit::byte && id >= 0 && id < spec_.internal_from;
    if (!is_symbol && spec_.byte_fallback[b] < 0) return std::nullopt;
  }
  size_t longest = 1;
  spec_.pieces.for_each([&](std::string_view text, TokenId) { longest = std::max(longest, text.size()); });
  return longest;
}

bool BpeModel::has_bytes(std::string_view text) const {
  return std::all_of(text.begin(), text.end(),
                     [&](char b) { return spec_.byte_fallback[static_cast<unsigned char>(b)] >= 0; });
}

void BpeModel::split_into_symbols(std::string_view piece, Workspace& work) const {
  work.symbols.clear();
  const bool decorated = !spec_.prefix.empty() || !spec_.suffix.empty();
  for (size_t at = 0, n; at < piece.size(); at += n) {
    const auto lead = static_cast<unsigned char>(piece[at]);
    n = spec_.unit == BpeSpec::Unit::byte ? 1 : utf8_length(lead);
    const std::string_view text = piece.substr(at, n);
    TokenId id = n == 1 ? single_byte_[lead] : -1;
    if (decorated) {
      const std::string_view before = at > 0 ? std::string_view(spec_.prefix) : "";
      const std::string_view after = at + n == piece.size() ? std::string_view(spec_.suffix) : "";
      id = spec_.pieces.find(std::string(before).append(text).append(after)).value_or(-1);
    } else if (n > 1) {
      id = spec_.pieces.find(text).value_or(-1);
    }
    if (id < 0 && !spec_.unknown && !has_bytes(text)) continue;  // nothing stands for it: its neighbours meet
    const auto index = static_cast<int32_t>(work.symbols.size());
    work.symbols.push_back({id, static_cast<uint32_t>(at), static_cast<uint32_t>(n), index - 1, index + 1});
  }
  tokenizer_steps += piece.size();
  if (!work.symbols.empty()) work.symbols.back().next = -1;
}

namespace {
constexpr size_t kFewSymbols = 32;
constexpr uint32_t kNoRank = UINT32_MAX;
}  // namespace

/// Looks at every pair for the best one, again and again: fastest where there are few.
void BpeModel::merge_few(Workspace& work) const {
  std::vector<Symbol>& symbols = work.symbols;
  const MergeTable::Entry* entries[kFewSymbols];
  uint32_t ranks[kFewSymbols];
  size_t n = symbols.size();
  const auto look = [&](size_t at) {  // the pair that begins at `at`
    entries[at] = at + 1 < n ? table_->find(symbols[at].id, symbols[at + 1].id) : nullptr;
    ranks[at] = entries[at] == nullptr ? kNoRank : entries[at]->rank;
  };
  for (size_t i = 0; i < n; ++i) look(i);
  while (n > 1) {
    tokenizer_steps += n;
    const size_t best = static_cast<size_t>(std::min_element(ranks, ranks + n - 1) - ranks);
    if (ranks[best] == kNoRank) break;
    Symbol& left = symbols[best];
    const Symbol& right = symbols[best + 1];
    const TokenId merged = entries[best]->merged;
    if (!spec_.unused.empty() && spec_.unused.count(merged) > 0)
      work.origins[merged] = {left.id, right.id, left.bytes};
    left.id = merged;
    left.bytes += right.bytes;
    --n;
    for (size_t i = best + 1; i < n; ++i) symbols[i] = symbols[i + 1], entries[i] = entries[i + 1], ranks[i] = ranks[i + 1];
    if (best > 0) look(best - 1);
    look(best);
  }
  symbols.resize(n);
  for (size_t i = 0; i < n; ++i) symbols[i].next = i + 1 < n ? static_cast<int32_t>(i + 1) : -1;
}

void BpeModel::merge_many(Workspace& work) const {
  std::vector<Symbol>& symbols = work.symbols;
  work.queue.make_room(ranks_, symbols.size());
  const auto entry_at = [&](int32_t at) -> const MergeTable::Entry* {
    const int32_t next = at < 0 ? -1 : symbols[static_cast<size_t>(at)].next;
    if (next < 0) return nullptr;
    return table_->find(symbols[static_cast<size_t>(at)].id, symbols[static_cast<size_t>(next)].id);
  };
  const auto push = [&](int32_t at) {
    if (const auto* entry = entry_at(at)) work.queue.push(entry->rank, static_cast<uint32_t>(at));
  };
  for (int32_t at = 0; at + 1 < static_cast<int32_t>(symbols.size()); ++at) push(at);

  for (std::pair<uint32_t, uint32_t> next; work.queue.pop(next);) {
    const auto at = static_cast<int32_t>(next.second);
    Symbol& left = symbols[next.second];
    const auto* entry = left.bytes == 0 ? nullptr : entry_at(at);
    if (entry == nullptr || entry->rank != next.first) continue;  // its symbols have gone into others
    Symbol& right = symbols[static_cast<size_t>(left.next)];
    if (!spec_.unused.empty() && spec_.unused.count(entry->merged) > 0)
      work.origins[entry->merged] = {left.id, right.id, left.bytes};
    left.id = entry->merged;
    left.bytes += right.bytes;
    left.next = right.next;
    right.bytes = 0;
    if (right.next >= 0) symbols[static_cast<size_t>(right.next)].previous = at;
    push(left.previous);
    push(at);
  }
}

void BpeModel::emit(TokenId symbol, std::string_view text, std::vector<TokenId>& out, bool& after_unknown) const {
  if (symbol >= 0 && symbol < spec_.internal_from) {
    after_unknown = false;
    out.push_back(symbol);
    return;
  }
  if (has_bytes(text)) {
    for (const char b : text) out.push_back(spec_.byte_fallback[static_cast<unsigned char>(b)]);
    after_unknown = false;
  } else if (spec_.unknown) {
    if (!after_unknown || !spec_.fuse_unknown) out.push_back(*spec_.unknown);
    after_unknown = true;
  }
}

void BpeModel::encode(std::string_view piece, std::vector<TokenId>& out) const {
  CHECK(piece.size() < (size_t{1} << 30), "a piece of {} bytes", piece.size());
  if (piece.empty()) return;
  if (spec_.ignore_merges) {
    if (const auto whole = find(piece)) return out.push_back(*whole);
  }
  thread_local Workspace work;
  work.origins.clear();
  split_into_symbols(piece, work);
  if (work.symbols.empty()) return;
  if (work.symbols.size() <= kFewSymbols)
    merge_few(work);
  else
    merge_many(work);
  bool after_unknown = false;
  for (int32_t at = 0; at >= 0; at = work.symbols[static_cast<size_t>(at)].next) {
    const Symbol& symbol = work.symbols[static_cast<size_t>(at)];
    // Resegment unused pieces, depth first and left to right; each origin is shorter, so this ends.
    work.emissions.push_back({symbol.id, symbol.begin, symbol.bytes});
    while (!work.emissions.empty()) {
      const auto [id, begin, bytes] = work.emissions.back();
      work.emissions.pop_back();
      const auto origin = work.origins.find(id);
      if (origin == work.origins.end()) {
        emit(id, piece.substr(begin, bytes), out, after_unknown);
      } else {
        const auto& [left, right, left_bytes] = origin->second;
        work.emissions.push_back({right, begin + left_bytes, bytes - left_bytes});
        work.emissions.push_back({left, begin, left_bytes});
      }
    }
  }
  constexpr size_t kKeptSymbols = 1 << 16;  // a huge piece must not pin its memory to the thread
  if (work.symbols.capacity() > kKeptSymbols) work = {};
}

}  // namespace sluice
