#include "text/tokenizer/models/piece_table.h"

#include <functional>

#include "base/check.h"

namespace sluice {
namespace {

uint32_t hash_of(std::string_view text) {
  const uint64_t hash = std::hash<std::string_view>{}(text);
  return static_cast<uint32_t>(hash ^ hash >> 32);
}

}  // namespace

size_t PieceTable::slot(std::string_view text, uint32_t hash) const {
  const size_t mask = entries_.size() - 1;
  size_t at = hash & mask;
  for (;; at = (at + 1) & mask) {
    const Entry& e = entries_[at];
    if (e.state == State::empty || (e.hash == hash && e.bytes == text.size() && text_of(e) == text)) return at;
  }
}

void PieceTable::reserve(size_t pieces) {
  size_t capacity = 16;
  while (capacity < 2 * pieces) capacity *= 2;
  if (capacity <= entries_.size()) return;
  std::vector<Entry> old(capacity);
  old.swap(entries_);
  for (const Entry& e : old) {
    if (e.state == State::empty) continue;
    size_t at = e.hash & (capacity - 1);
    while (entries_[at].state != State::empty) at = (at + 1) & (capacity - 1);
    entries_[at] = e;
  }
}

bool PieceTable::add(std::string_view text, TokenId id) {
  CHECK(text.size() <= UINT32_MAX, "a token of {} bytes", text.size());
  reserve(used_ + 1);
  const uint32_t hash = hash_of(text);
  Entry& e = entries_[slot(text, hash)];
  if (e.state == State::used) return false;
  if (e.state == State::empty) {
    e = {texts_.size(), static_cast<uint32_t>(text.size()), hash, id, State::used};
    texts_ += text;
    ++used_;
  } else {
    e.id = id, e.state = State::used;
  }
  return true;
}

std::optional<TokenId> PieceTable::find(std::string_view text) const {
  if (entries_.empty()) return std::nullopt;
  const Entry& e = entries_[slot(text, hash_of(text))];
  return e.state == State::used ? std::optional(e.id) : std::nullopt;
}

}  // namespace sluice
