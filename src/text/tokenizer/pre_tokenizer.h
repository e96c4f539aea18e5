#pragma once
// How text is cut into pieces inside which tokens merge.

#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/regex.h"

namespace sluice {

/// Text cut at `ends`: piece i is [ends[i-1], ends[i]); the last end is the text's size. No piece is empty.
struct Pieces {
  std::string text;
  std::vector<size_t> ends;
};

class PreTokenizer {
 public:
  /// `at_start`: the text stands at the very beginning of the input.
  using Step = std::function<void(Pieces& pieces, bool at_start)>;

  void add(Step step) { steps_.push_back(std::move(step)); }
  /// `text` must be valid UTF-8. Every step cuts, or rewrites, each piece that the steps before it left.
  Pieces apply(std::string text, bool at_start) const;
  /// The pieces become bytes for a byte-level vocabulary: a ByteLevel step was among the described.
  bool byte_level = false;
  bool drops_text = false;  // a step leaves its matches, or what is between them, out

 private:
  std::vector<Step> steps_;
};

/// What becomes of a match: a piece of its own, dropped, joined to a neighbour, or joined to matches beside it.
enum class SplitBehavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };
PreTokenizer::Step split_on(Regex regex, SplitBehavior behavior, bool invert = false);
/// A PreTokenizer for byte-level vocabularies that isolates the matches of each pattern in turn.
Result<PreTokenizer> byte_level_pre_tokenizer(std::span<const std::string_view> patterns);

/// The "pre_tokenizer" of a tokenizer.json (an object or null).
Result<PreTokenizer> parse_pre_tokenizer(const nlohmann::json& description);

}  // namespace sluice
