#include "text/tokenizer/models/plamo.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "text/tokenizer/step_count.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

constexpr double kScale = 1e4;
constexpr int32_t kUnknownCost = 10'000'000, kForbiddenCost = 20'000'000;  // of a character in bytes; of a piece never used

struct BestSuffix {
  int64_t cost = 0;    // of the text from here on
  uint32_t bytes = 0;  // of the first piece
  int32_t piece = -1;  // -1: the first character, in bytes
};

}  // namespace

PlamoModel::PlamoModel(PlamoSpec spec) : bytes_(spec.bytes) {
  std::vector<std::pair<std::string_view, TokenId>> entries;
  for (const PlamoSpec::Piece& piece : spec.pieces) {
    const double cost = -std::round(static_cast<double>(piece.score) * kScale);
    // The bounds keep the sum of any text within 64 bits.
    const bool usable = std::isfinite(cost) && cost < kForbiddenCost;
    entries.emplace_back(piece.text, static_cast<TokenId>(ids_.size()));
    ids_.push_back(piece.id);
    costs_.push_back(usable ? static_cast<int32_t>(std::max(cost, -1.0 * kForbiddenCost)) : kForbiddenCost);
  }
  trie_ = ByteTrie(std::move(entries));
}

void PlamoModel::encode(std::string_view piece, std::vector<TokenId>& out) const {
  CHECK(piece.size() < (size_t{1} << 30), "a piece of {} bytes", piece.size());
  thread_local std::vector<BestSuffix> best;
  best.assign(piece.size() + 1, BestSuffix{});
  uint64_t steps = 0;
  for (size_t end = piece.size(); end > 0;) {
    const size_t at = end = utf8_before(piece, end);
    const size_t length = utf8_length(static_cast<unsigned char>(piece[at]));
    BestSuffix& here = best[at];
    here = {best[at + length].cost + kUnknownCost, static_cast<uint32_t>(length), -1};
    ByteTrie::Node node = ByteTrie::kRoot;
    for (size_t next = at; next < piece.size();) {
      node = trie_.child(node, piece[next++]);
      ++steps;
      if (node == ByteTrie::kNone) break;
      const int32_t which = trie_.token(node);
      if (which < 0 || costs_[static_cast<size_t>(which)] >= kForbiddenCost) continue;
      const int64_t cost = best[next].cost + costs_[static_cast<size_t>(which)];
      // Pieces come from the shortest to the longest.
      if (cost <= here.cost) here = {cost, static_cast<uint32_t>(next - at), which};
    }
  }
  tokenizer_steps += steps;
  for (size_t at = 0; at < piece.size(); at += best[at].bytes) {
    const BestSuffix& here = best[at];
    if (here.piece >= 0)
      out.push_back(ids_[static_cast<size_t>(here.piece)]);
    else
      for (const char b : piece.substr(at, here.bytes)) out.push_back(bytes_[static_cast<unsigned char>(b)]);
  }
  constexpr size_t kKept = 1 << 16;  // a huge piece must not pin its memory to the thread
  if (best.capacity() > kKept) best = {};
}

std::optional<TokenId> PlamoModel::find(std::string_view text) const {
  if (text.empty()) return std::nullopt;
  const auto [which, bytes] = trie_.longest(text, 0);
  return which >= 0 && bytes == text.size() ? std::optional(ids_[static_cast<size_t>(which)]) : std::nullopt;
}

std::optional<size_t> PlamoModel::longest_token_bytes() const { return std::max<size_t>(1, trie_.longest_bytes()); }

}  // namespace sluice
