// Metaspace: a space becomes a character that shows, one is put before text, and words begin with it.

#include "text/tokenizer/parts_catalog.h"
#include "text/tokenizer/pre_tokenizers/pieces.h"

namespace sluice {

bool crosses_words(std::string_view piece) {
  const std::string_view space = kMetaspace;
  for (size_t hit = piece.find(space); hit != std::string_view::npos; hit = piece.find(space, hit + space.size()))
    if (hit > 0 && !piece.substr(0, hit).ends_with(space)) return true;
  return false;
}

PreTokenizer::Step metaspace(std::string replacement, PrependScheme scheme, bool split) {
  return [replacement = std::move(replacement), scheme, split](Pieces& pieces) {
    Pieces out{{}, {}, pieces.from_start};
    out.text.reserve(pieces.text.size() + pieces.text.size() / 2);
    for_each_piece(pieces, [&](std::string_view piece, size_t begin) {
      const bool wanted =
          scheme == PrependScheme::always || (scheme == PrependScheme::first && pieces.from_start && begin == 0);
      const bool has_one = piece.starts_with(' ') || piece.starts_with(replacement);
      const size_t base = out.text.size();
      if (wanted && !has_one) out.text += replacement;
      for (const char c : piece) c == ' ' ? void(out.text += replacement) : out.text.push_back(c);
      if (split) {  // a new piece begins at every replacement
        for (size_t hit = out.text.find(replacement, base + 1); hit != std::string::npos;
             hit = out.text.find(replacement, hit + 1))
          out.ends.push_back(hit);
      }
      out.ends.push_back(out.text.size());
    });
    pieces = std::move(out);
  };
}

PreTokenizer::Step cut_before(std::string replacement) {
  return [replacement = std::move(replacement)](Pieces& pieces) {
    cut_pieces(pieces, SplitBehavior::isolated, [&](std::string_view piece, std::vector<Span>& spans) {
      size_t from = 0;
      for (size_t hit = piece.find(replacement); hit != std::string_view::npos;
           hit = piece.find(replacement, hit + replacement.size())) {
        const bool follows_one = hit >= replacement.size() && piece.substr(0, hit).ends_with(replacement);
        if (hit == from || follows_one) continue;
        spans.push_back({from, hit, false});
        from = hit;
      }
      spans.push_back({from, piece.size(), false});
    });
  };
}

Status parse_metaspace(const nlohmann::json& description, PreTokenizer& out) {
  if (out.byte_level) out.spell_bytes();
  SLUICE_TRY(std::string replacement, character_field(description, "replacement"));
  PrependScheme scheme = PrependScheme::always;
  if (find_field(description, "prepend_scheme") != nullptr) {
    SLUICE_TRY(const std::string name, string_field(description, "prepend_scheme"));
    if (name == "first")
      scheme = PrependScheme::first;
    else if (name == "never")
      scheme = PrependScheme::never;
    else if (name != "always")
      return unsupported(fmt::format("prepend_scheme '{}' (known: always, first, never)", name));
  } else {
    SLUICE_TRY(const bool prefix, bool_field(description, "add_prefix_space", true));
    if (!prefix) scheme = PrependScheme::never;
  }
  SLUICE_TRY(const bool split, bool_field(description, "split", true));
  out.add(metaspace(std::move(replacement), scheme, split));
  return {};
}

}  // namespace sluice
