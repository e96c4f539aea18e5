#include "text/tokenizer/models/unigram.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "text/tokenizer/step_count.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

constexpr double kUnknownPenalty = 10;
constexpr int32_t kUnknown = -2;  // no piece: a character that is in none alone

/// The best way to the byte after a piece.
struct BestPath {
  double score = 0;
  int32_t from = -1;  // -1: not reached
  int32_t piece = -1;
};

}  // namespace

double score_as_read(double score) {
  const std::string shortest = fmt::format("{}", score);
  if (shortest.find_first_of("einf") != std::string::npos) return score;
  uint64_t digits = 0;
  int places = 0;
  bool behind_point = false;
  for (const char c : shortest) {
    behind_point |= c == '.';
    if (c < '0' || c > '9') continue;
    digits = digits * 10 + static_cast<uint64_t>(c - '0');
    places += behind_point ? 1 : 0;
  }
  const double size = static_cast<double>(digits) / std::pow(10.0, places);
  return std::signbit(score) ? -size : size;
}

UnigramModel::UnigramModel(UnigramSpec spec)
    : unknown_score_(spec.least_score - kUnknownPenalty),
      in_float_(spec.in_float),
      unknown_(spec.unknown),
      bytes_(spec.bytes) {
  std::vector<std::pair<std::string_view, TokenId>> entries;
  for (const UnigramSpec::Piece& piece : spec.pieces) {
    entries.emplace_back(piece.text, static_cast<TokenId>(ids_.size()));
    ids_.push_back(piece.id);
    scores_.push_back(piece.score);
  }
  trie_ = ByteTrie(std::move(entries));
}

void UnigramModel::encode(std::string_view piece, std::vector<TokenId>& out) const {
  CHECK(piece.size() < (size_t{1} << 30), "a piece of {} bytes", piece.size());
  thread_local std::vector<BestPath> best;
  thread_local std::vector<BestPath> path;  // from the last piece to the first; `score` is unused
  best.assign(piece.size() + 1, BestPath{});
  uint64_t steps = 0;
  for (size_t at = 0, length; at < piece.size(); at += length) {
    length = utf8_length(static_cast<unsigned char>(piece[at]));
    const double here = best[at].score;
    const auto offer = [&](size_t end, double score, int32_t which) {
      if (in_float_) score = static_cast<float>(score);
      if (best[end].from < 0 || score > best[end].score) best[end] = {score, static_cast<int32_t>(at), which};
    };
    bool has_character = false;
    ByteTrie::Node node = ByteTrie::kRoot;
    for (size_t end = at; end < piece.size();) {
      node = trie_.child(node, piece[end++]);
      ++steps;
      if (node == ByteTrie::kNone) break;
      const int32_t which = trie_.token(node);
      if (which < 0) continue;
      offer(end, here + scores_[static_cast<size_t>(which)], which);
      has_character |= end - at == length;
    }
    if (!has_character) offer(at + length, here + unknown_score_, kUnknown);
  }
  tokenizer_steps += steps;

  path.clear();
  for (auto end = static_cast<int32_t>(piece.size()); end > 0; end = path.back().from) {
    path.push_back(best[static_cast<size_t>(end)]);
    path.back().score = end;
  }
  for (size_t i = path.size(); i > 0;) {
    const auto is_unknown = [&](const BestPath& b) {
      return b.piece == kUnknown || (unknown_ && ids_[static_cast<size_t>(b.piece)] == *unknown_);
    };
    const BestPath& first = path[--i];
    if (!is_unknown(first)) {
      out.push_back(ids_[static_cast<size_t>(first.piece)]);
      continue;
    }
    while (i > 0 && is_unknown(path[i - 1])) --i;  // a run of unknown characters is one token, or its bytes
    const auto begin = static_cast<size_t>(first.from), end = static_cast<size_t>(path[i].score);
    const std::string_view text = piece.substr(begin, end - begin);
    const auto has_byte = [&](char b) { return (*bytes_)[static_cast<unsigned char>(b)] >= 0; };
    if (bytes_ && std::all_of(text.begin(), text.end(), has_byte)) {
      for (const char b : text) out.push_back((*bytes_)[static_cast<unsigned char>(b)]);
    } else if (unknown_) {
      out.push_back(*unknown_);
    }
  }
  constexpr size_t kKept = 1 << 16;  // a huge piece must not pin its memory to the thread
  if (best.capacity() > kKept) best = {};
  if (path.capacity() > kKept) path = {};
}

std::optional<TokenId> UnigramModel::find(std::string_view text) const {
  if (text.empty()) return std::nullopt;
  const auto [which, bytes] = trie_.longest(text, 0);
  return which >= 0 && bytes == text.size() ? std::optional(ids_[static_cast<size_t>(which)]) : std::nullopt;
}

std::optional<size_t> UnigramModel::longest_token_bytes() const {
  if (!bytes_ || std::any_of(bytes_->begin(), bytes_->end(), [](TokenId id) { return id < 0; })) return std::nullopt;
  return std::max<size_t>(1, trie_.longest_bytes());
}

}  // namespace sluice
