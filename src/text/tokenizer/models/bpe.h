#pragma once
// Byte-pair encoding (Sennrich et al. 2016): the adjacent pair with the lowest rank merges, the leftmost first, until
// no pair has a rank. With bytes as first symbols it is GPT-2's byte-level BPE, with characters sentencepiece's BPE.

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "text/tokenizer/models/piece_table.h"
#include "text/tokenizer/models/token_model.h"

namespace sluice {

struct BpeMerge {
  TokenId left = -1, right = -1, merged = -1;
  uint32_t rank = 0;  // equal ranks merge from the left
};

struct BpeSpec {
  enum class Unit { byte, character } unit = Unit::byte;
  PieceTable pieces;             // text of every symbol that can be met or made
  std::vector<BpeMerge> merges;  // of two equal pairs the first counts
  bool ignore_merges = false;    // a piece that is a token as a whole is that token
  std::string prefix, suffix;    // in the spelling of characters that do not begin, or that end, a piece
  std::optional<TokenId> unknown;
  bool fuse_unknown = false;                            // one unknown token for a run of unknown characters
  std::array<TokenId, 256> byte_fallback = no_bytes();  // -1: the byte has no token
  TokenId internal_from = INT32_MAX;      // symbols from here on only help to merge; they are emitted as unknown text
  std::unordered_set<TokenId> unused;     // may be merged through, but are emitted as the two symbols they came from
  std::unordered_set<TokenId> forbidden;  // never emitted, unless a single byte or character

  static std::array<TokenId, 256> no_bytes() {
    std::array<TokenId, 256> none;
    none.fill(-1);
    return none;
  }
};

/// The two symbols of a merge, in text that somebody else holds.
using MergeText = std::pair<std::string_view, std::string_view>;
/// Adds merges listed as text, the first ranked lowest; each symbol and each result must be a piece.
Status add_ranked_merges(BpeSpec& spec, std::span<const MergeText> merges);
/// Adds one, ranked after those before it: the first `left_bytes` of `merged`, and the rest.
Status add_ranked_merge(BpeSpec& spec, std::string_view merged, size_t left_bytes);
/// Adds one of symbols that are spelled so, ranked after those before it.
Status add_spelled_merge(BpeSpec& spec, std::string_view left, std::string_view right, std::string_view merged);

/// Adds every merge whose result is a piece with a score, the highest score ranked lowest (sentencepiece). `scored` are
/// piece texts with scores, none NaN. Pieces over kMaxMergedBytes are not made by merging.
inline constexpr size_t kMaxMergedBytes = 256;
void add_scored_merges(BpeSpec& spec, const std::vector<std::pair<std::string, float>>& scored);

class BpeModel final : public TokenModel {
 public:
  explicit BpeModel(BpeSpec spec);
  ~BpeModel() override;
  /// Linear in the length of the piece.
  void encode(std::string_view piece, std::vector<TokenId>& out) const override;
  std::optional<TokenId> find(std::string_view text) const override;
  std::optional<size_t> longest_token_bytes() const override;

 private:
  struct MergeTable;
  struct Symbol;
  struct Workspace;
  void split_into_symbols(std::string_view piece, Workspace& work) const;
  void merge_few(Workspace& work) const;
  void merge_many(Workspace& work) const;
  bool has_bytes(std::string_view text) const;
  void emit(TokenId symbol, std::string_view text, std::vector<TokenId>& out, bool& after_unknown) const;

  BpeSpec spec_;  // without its merges, which are in table_
  uint32_t ranks_ = 0;  // all are below
  std::array<TokenId, 256> single_byte_;
  std::unique_ptr<const MergeTable> table_;
};

}  // namespace sluice
