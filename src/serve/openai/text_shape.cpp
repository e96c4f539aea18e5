#include "serve/openai/text_shape.h"

#include <algorithm>

namespace sluice {
namespace {

void append(std::vector<TokenId>& to, const std::vector<TokenId>& ids) { to.insert(to.end(), ids.begin(), ids.end()); }

// Keeps so many tokens of `ids` that `whole` are `most`; false: not even one.
bool cut(std::vector<TokenId>& ids, size_t whole, int most) {
  const auto limit = static_cast<size_t>(most);
  if (most <= 0 || whole <= limit) return true;
  const size_t over = whole - limit;
  if (over >= ids.size()) return false;
  ids.resize(ids.size() - over);
  return true;
}

}  // namespace

const std::string_view kRerankPrompt =
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer can "
    "only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n<Instruct>: {instruction}\n\n<Query>: {query}\n\n<Document>: {document}<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n";
const std::string_view kRerankInstruction = "Given a web search query, retrieve relevant passages that answer the query";

TextShape::TextShape(const Tokenizer& tokenizer, PairStyle style) : tokenizer_(tokenizer), style_(std::move(style)) {
  const std::vector<TokenId> bare = plain("a"), whole = tokenizer_.encode("a");
  const auto at = std::search(whole.begin(), whole.end(), bare.begin(), bare.end());
  prefix_.assign(whole.begin(), at);
  suffix_.assign(at == whole.end() ? at : at + static_cast<int64_t>(bare.size()), whole.end());
}

QueuedText TextShape::single(std::string_view text, bool add_special, int most) const {
  QueuedText out;
  out.tokens = tokenizer_.encode(text, {.add_special = add_special});
  if (most <= 0 || out.tokens.size() <= static_cast<size_t>(most)) return out;
  const std::vector<TokenId> end = add_special ? suffix_ : std::vector<TokenId>();
  const size_t kept = static_cast<size_t>(most) > end.size() ? static_cast<size_t>(most) - end.size() : 0;
  out.tokens.resize(kept);
  append(out.tokens, end);
  out.tokens.resize(std::min(out.tokens.size(), static_cast<size_t>(most)));
  return out;
}

Result<QueuedText> TextShape::pair(std::string_view query, std::string_view document, std::string_view instruction, int most) const {
  const auto no_room = [&] {
    return invalid_argument(fmt::format("the query leaves no room for a document within {} tokens; shorten it", most), "query");
  };
  QueuedText out;
  if (style_.prompt.empty()) {
    std::vector<TokenId> text = plain(document);
    out.tokens = prefix_;
    append(out.tokens, plain(query));
    const PairForm& form = tokenizer_.pair_form();
    if (form.said) append(out.tokens, form.between);
    for (int i = 0; !form.said && i < style_.separators; ++i) append(out.tokens, suffix_);
    if (!cut(text, out.tokens.size() + text.size() + suffix_.size(), most)) return no_room();
    if (!form.said || form.second_type != 0) out.second = static_cast<int64_t>(out.tokens.size());
    append(out.tokens, text);
    append(out.tokens, suffix_);
    return out;
  }
  // The parts of the prompt are trusted, what the client gives is not.
  const auto segments = [&](std::string_view of_document) {
    std::vector<TextSegment> parts;
    std::string_view rest = style_.prompt;
    while (!rest.empty()) {
      const size_t open = rest.find('{'), close = rest.find('}', open);
      const std::string_view name = close == std::string_view::npos ? "" : rest.substr(open + 1, close - open - 1);
      const bool known = name == "query" || name == "document" || name == "instruction";
      const size_t end = open == std::string_view::npos ? rest.size() : known ? open : open + 1;
      if (end > 0) parts.push_back({std::string(rest.substr(0, end)), true});
      if (!known) {
        rest.remove_prefix(end);
        continue;
      }
      const std::string_view value = name == "query" ? query : name == "document" ? of_document : instruction.empty() ? kRerankInstruction : instruction;
      parts.push_back({std::string(value), false});
      rest.remove_prefix(close + 1);
    }
    return tokenizer_.encode_segments(parts, false);  // the answer is what comes after the prompt's last token
  };
  out.tokens = segments(document);
  if (most > 0 && out.tokens.size() > static_cast<size_t>(most)) {
    std::vector<TokenId> text = plain(document);
    if (!cut(text, out.tokens.size(), most)) return no_room();
    out.tokens = segments(tokenizer_.decode(text));
    // Merging across the cut may leave a token or two more.
    while (out.tokens.size() > static_cast<size_t>(most) && text.size() > 1) {
      text.pop_back();
      out.tokens = segments(tokenizer_.decode(text));
    }
    if (out.tokens.size() > static_cast<size_t>(most)) return no_room();
  }
  return out;
}

}  // namespace sluice
