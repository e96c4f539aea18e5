// FixedLength: so many characters each.

#include "text/tokenizer/parts_catalog.h"
#include "text/tokenizer/pre_tokenizers/pieces.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

Status parse_fixed_length(const nlohmann::json& description, PreTokenizer& out) {
  if (out.byte_level) out.spell_bytes();
  int64_t length = 5;
  if (find_field(description, "length") != nullptr) {
    SLUICE_TRY(length, int_field(description, "length"));
  }
  if (length < 1) return corrupt_data(fmt::format("'length' is {}, expected at least 1", length));
  out.add([length](Pieces& pieces) {
    cut_pieces(pieces, SplitBehavior::isolated, [&](std::string_view piece, std::vector<Span>& spans) {
      size_t from = 0;
      int64_t characters = 0;
      for (size_t at = 0; at < piece.size();) {
        at += utf8_length(static_cast<unsigned char>(piece[at]));
        if (++characters < length && at < piece.size()) continue;
        spans.push_back({from, at, false});
        from = at;
        characters = 0;
      }
    });
  });
  return {};
}

}  // namespace sluice
