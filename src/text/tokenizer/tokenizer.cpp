#include "text/tokenizer/tokenizer.h"

#include <algorithm>
#include <cmath>

#include "text/tokenizer/detokenizer.h"
#include "text/tokenizer/piece_cache.h"
#include "text/tokenizer/tokenizer_parts.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

struct Tokenizer::Matchers {
  AddedTokenMatcher raw;         // before normalization: every control token
  AddedTokenMatcher normalized;  // after it
  std::map<std::string, TokenId, std::less<>> ids;
};

namespace {

std::optional<size_t> longest_token_bytes(const TokenizerParts& parts) {
  const std::optional<size_t> longest = parts.model->longest_token_bytes();
  const double shrinks = parts.normalizer.shrinks();
  if (!longest || !std::isfinite(shrinks) || parts.pre_tokenizer.drops_text) return std::nullopt;
  size_t bytes = *longest;
  for (const AddedToken& token : parts.added) {
    if (token.lstrip || token.rstrip) return std::nullopt;
    bytes = std::max(bytes, token.content.size());
  }
  return static_cast<size_t>(std::ceil(static_cast<double>(bytes) * shrinks));
}

}  // namespace

Tokenizer::Tokenizer(TokenizerParts parts) : serial_(PieceCache::next_serial()) {
  CHECK(parts.model != nullptr);
  std::vector<AddedToken> raw, normalized;
  std::map<std::string, TokenId, std::less<>> ids;
  for (const AddedToken& token : parts.added) {
    (token.normalized && !is_control(token) ? normalized : raw).push_back(token);
    ids.emplace(token.content, token.id);
  }
  matchers_ = std::make_unique<Matchers>(
      Matchers{AddedTokenMatcher(std::move(raw)), AddedTokenMatcher(std::move(normalized)), std::move(ids)});
  longest_token_bytes_ = sluice::longest_token_bytes(parts);
  parts_ = std::make_unique<TokenizerParts>(std::move(parts));
}

Tokenizer::~Tokenizer() = default;

std::vector<TokenId> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  const TextSegment segment{std::string(text), options.parse_special};
  return encode_segments({&segment, 1}, options.add_special);
}

std::vector<TokenId> Tokenizer::encode_segments(std::span<const TextSegment> segments, bool add_special) const {
  std::string text;
  std::vector<TextRange> trusted;
  for (const TextSegment& segment : segments) {
    const size_t begin = text.size();
    append_utf8_lossy(segment.text, true, text);
    if (!segment.trusted || text.size() == begin) continue;
    if (!trusted.empty() && trusted.back().end == begin)
      trusted.back().end = text.size();
    else
      trusted.push_back({begin, text.size()});
  }

  std::vector<TokenId> out;
  if (add_special) out = parts_->prefix;
  size_t at = 0;
  std::span<const TextRange> ranges = trusted;
  while (const auto match = matchers_->raw.find(text, at, ranges)) {
    encode_plain(std::string_view(text).substr(at, match->begin - at), at == 0, out);
    out.push_back(match->id);
    at = match->end;
  }
  encode_plain(std::string_view(text).substr(at), at == 0, out);
  if (add_special) out.insert(out.end(), parts_->suffix.begin(), parts_->suffix.end());
  return out;
}

void Tokenizer::encode_plain(std::string_view text, bool at_start, std::vector<TokenId>& out) const {
  if (text.empty()) return;
  const std::string normal = parts_->normalizer.apply(text, at_start);
  PieceCache& cache = PieceCache::of_this_thread(serial_, *parts_->model);
  const auto encode_pieces = [&](size_t begin, size_t end) {
    if (begin == end) return;
    const Pieces pieces = parts_->pre_tokenizer.apply(normal.substr(begin, end - begin), at_start && begin == 0);
    size_t from = 0;
    for (const size_t to : pieces.ends) {
      cache.encode(std::string_view(pieces.text).substr(from, to - from), out);
      from = to;
    }
  };
  size_t at = 0;
  std::span<const TextRange> none;
  while (const auto match = matchers_->normalized.find(normal, at, none)) {
    encode_pieces(at, match->begin);
    out.push_back(match->id);
    at = match->end;
  }
  encode_pieces(at, normal.size());
}

std::string Tokenizer::decode(std::span<const TokenId> ids, DecodeOptions options) const {
  Detokenizer detokenizer(*this, options);
  std::string text;
  for (const TokenId id : ids) text += detokenizer.push(id);
  return text += detokenizer.finish();
}

std::string_view Tokenizer::token_bytes(TokenId id) const {
  if (id < 0 || id >= vocab_size()) return {};
  return parts_->tokens[static_cast<size_t>(id)].bytes;
}

std::optional<size_t> Tokenizer::longest_token_bytes() const { return longest_token_bytes_; }
int Tokenizer::vocab_size() const { return static_cast<int>(parts_->tokens.size()); }
std::optional<TokenId> Tokenizer::bos() const { return parts_->bos; }
std::optional<TokenId> Tokenizer::eos() const { return parts_->eos; }
std::optional<TokenId> Tokenizer::pad() const { return parts_->pad; }
const PairForm& Tokenizer::pair_form() const { return parts_->pair; }
const std::vector<TokenId>& Tokenizer::end_of_generation() const { return parts_->end_of_generation; }
bool Tokenizer::is_end_of_generation(TokenId id) const {
  return std::binary_search(parts_->end_of_generation.begin(), parts_->end_of_generation.end(), id);
}
bool Tokenizer::is_special(TokenId id) const {
  return id >= 0 && id < vocab_size() && parts_->tokens[static_cast<size_t>(id)].special;
}
std::optional<TokenId> Tokenizer::token_id(std::string_view spelling) const {
  const auto it = matchers_->ids.find(spelling);
  return it != matchers_->ids.end() ? it->second : parts_->model->find(spelling);
}
const DecodeRules& Tokenizer::decode_rules() const { return parts_->decoding; }
const std::map<std::string, std::string>& Tokenizer::chat_templates() const { return parts_->chat_templates; }

}  // namespace sluice
