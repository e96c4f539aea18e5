#pragma once
// Tokens that are found in text as they stand, before any merging: special tokens and added words.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace sluice {

struct AddedToken {
  TokenId id = -1;
  std::string content;
  std::string pattern;       // what is looked for, where it is not the content: that in normal form
  bool special = false;      // steers the model; left out of decoded text
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and after it
  bool single_word = false;  // not inside a word
  bool normalized = false;   // matched after normalization, unless it is a control token
};

/// What text from users may never become: special tokens, and added tokens in the shape of markup (<...> or [...]),
/// such as <tool_call>, which steer a model as well although their files do not call them special.
bool is_control(const AddedToken& token);

inline constexpr size_t kMaxAddedTokenBytes = 512;  // bounds the work for one position of text

/// Ranges of a text, ascending and apart.
struct TextRange {
  size_t begin = 0, end = 0;
};

class AddedTokenMatcher {
 public:
  /// Contents must not be empty nor longer than kMaxAddedTokenBytes; the first of two equal ones wins.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  struct Match {
    size_t begin = 0, end = 0;
    TokenId id = -1;
  };
  /// The leftmost, then longest match in text[from, size). A control token matches only inside one range of `trusted`,
  /// from which those that end before `from` are taken.
  std::optional<Match> find(std::string_view text, size_t from, std::span<const TextRange>& trusted) const;

 private:
  std::vector<AddedToken> tokens_;
  std::vector<int32_t> token_at_node_;               // -1: no token ends here
  std::unordered_map<uint64_t, uint32_t> children_;  // node << 8 | byte -> node; the root is 0
  bool starts_[256] = {};
};

}  // namespace sluice
