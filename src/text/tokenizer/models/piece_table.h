#pragma once
// Texts of tokens to their ids. A vocabulary has hundreds of thousands and is looked up a million times while it loads:
// all texts lie in one string, and the table is open.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace sluice {

class PieceTable {
 public:
  /// False, and nothing changes, when the text is there already.
  bool add(std::string_view text, TokenId id);
  std::optional<TokenId> find(std::string_view text) const;
  /// How many were added.
  size_t size() const { return used_; }
  void reserve(size_t pieces);

  /// f(text, id) of every piece, in no order.
  template <class F>
  void for_each(F f) const {
    for (const Entry& e : entries_)
      if (e.state == State::used) f(text_of(e), e.id);
  }
  /// Takes away the pieces for which f(text, id) is true.
  template <class F>
  void remove_if(F f) {
    for (Entry& e : entries_)
      if (e.state == State::used && f(text_of(e), e.id)) e.state = State::removed;
  }

 private:
  enum class State : uint8_t { empty, used, removed };
  struct Entry {
    uint64_t begin = 0;
    uint32_t bytes = 0, hash = 0;
    TokenId id = -1;
    State state = State::empty;
  };
  std::string_view text_of(const Entry& e) const { return std::string_view(texts_).substr(e.begin, e.bytes); }
  /// The entry that holds the text, or the empty one where it would be.
  size_t slot(std::string_view text, uint32_t hash) const;

  std::string texts_;
  std::vector<Entry> entries_;  // a power of two of them, at most half in use
  size_t used_ = 0;
};

}  // namespace sluice
