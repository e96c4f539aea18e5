#pragma once
// A trie over bytes as a double array (Aoe 1989): the child of node s by byte c is base[s] + c, if check says so. One
// step is one load, whatever the vocabulary.

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace sluice {

class ByteTrie {
 public:
  using Node = uint32_t;
  static constexpr Node kRoot = 1, kNone = 0;

  ByteTrie() = default;
  /// Empty texts are left out; of two equal ones the last counts.
  explicit ByteTrie(std::vector<std::pair<std::string_view, TokenId>> entries);

  Node child(Node node, char byte) const {
    const size_t at = size_t{units_[node].base} + static_cast<unsigned char>(byte);
    return at < units_.size() && units_[at].check == node ? static_cast<Node>(at) : kNone;
  }
  /// The token that ends here, or -1.
  TokenId token(Node node) const { return units_[node].token; }
  /// The longest entry that `text` starts with from `at`: its token (-1: none) and its bytes.
  std::pair<TokenId, size_t> longest(std::string_view text, size_t at) const;
  size_t longest_bytes() const { return longest_bytes_; }

 private:
  struct Unit {
    uint32_t base = 0, check = kNone;
    TokenId token = -1;
  };
  std::vector<Unit> units_ = std::vector<Unit>(2);
  size_t longest_bytes_ = 0;
};

}  // namespace sluice
