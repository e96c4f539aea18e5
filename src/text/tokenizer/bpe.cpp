#include "text/tokenizer/bpe.h"

#include <algorithm>
#include <functional>

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
  struct Candidate {
    uint32_t rank;
    int32_t at;                   // the left symbol
    TokenId left, right, merged;  // as they were when the candidate was found; it is stale if they changed
    bool operator>(const Candidate& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
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

Status add_ranked_merge(BpeSpec& spec, std::string_view merged, size_t left_bytes) {
  const std::string_view left = merged.substr(0, left_bytes), right = merged.substr(left_bytes);
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

void BpeModel::split_into_symbols(std::string_view piece, Workspace& work) const {
  work.symbols.clear();
  for (size_t at = 0, n; at < piece.size(); at += n) {
    const auto lead = static_cast<unsigned char>(piece[at]);
    n = spec_.unit == BpeSpec::Unit::byte ? 1 : utf8_length(lead);
    TokenId id = n == 1 ? single_byte_[lead] : -1;
    if (n > 1) id = spec_.pieces.find(piece.substr(at, n)).value_or(-1);
    const auto index = static_cast<int32_t>(work.symbols.size());
    work.symbols.push_back({id, static_cast<uint32_t>(at), static_cast<uint32_t>(n), index - 1, index + 1});
  }
  work.symbols.back().next = -1;
}

void BpeModel::merge(Workspace& work) const {
  std::vector<Symbol>& symbols = work.symbols;
  auto& heap = work.heap;
  heap.clear();
  const auto candidate = [&](int32_t at) -> std::optional<Workspace::Candidate> {
    const int32_t next = at < 0 ? -1 : symbols[static_cast<size_t>(at)].next;
    if (next < 0) return std::nullopt;
    const TokenId left = symbols[static_cast<size_t>(at)].id, right = symbols[static_cast<size_t>(next)].id;
    const MergeTable::Entry* entry = table_->find(left, right);
    if (entry == nullptr) return std::nullopt;
    return Workspace::Candidate{entry->rank, at, left, right, entry->merged};
  };
  const auto push = [&](int32_t at) {
    if (const auto found = candidate(at)) {
      heap.push_back(*found);
      std::push_heap(heap.begin(), heap.end(), std::greater<>());
    }
  };
  for (int32_t at = 0; at + 1 < static_cast<int32_t>(symbols.size()); ++at)
    if (const auto found = candidate(at)) heap.push_back(*found);
  std::make_heap(heap.begin(), heap.end(), std::greater<>());

  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const Workspace::Candidate best = heap.back();
    heap.pop_back();
    Symbol& left = symbols[static_cast<size_t>(best.at)];
    if (left.bytes == 0 || left.id != best.left || left.next < 0) continue;
    Symbol& right = symbols[static_cast<size_t>(left.next)];
    if (right.id != best.right) continue;
    if (!spec_.unused.empty() && spec_.unused.count(best.merged) > 0)
      work.origins[best.merged] = {best.left, best.right, left.bytes};
    left.id = best.merged;
    left.bytes += right.bytes;
    left.next = right.next;
    right.bytes = 0;
    if (right.next >= 0) symbols[static_cast<size_t>(right.next)].previous = best.at;
    push(left.previous);
    push(best.at);
  }
}

void BpeModel::emit(TokenId symbol, std::string_view text, std::vector<TokenId>& out, bool& after_unknown) const {
  if (symbol >= 0 && symbol < spec_.internal_from) {
    after_unknown = false;
    out.push_back(symbol);
    return;
  }
  const bool has_bytes = std::all_of(text.begin(), text.end(),
                                     [&](char b) { return spec_.byte_fallback[static_cast<unsigned char>(b)] >= 0; });
  if (has_bytes) {
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
  merge(work);
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
