// Strip: white space at the ends. And sentencepiece's way with spaces.

#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/parts_catalog.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

Normalizer::Step strip_white_space(bool left, bool right) {
  return [left, right](std::string& text, bool) {
    size_t begin = 0, end = text.size();
    while (left && begin < end && is_white_space(decode_utf8(text, begin)))
      begin += utf8_length(static_cast<unsigned char>(text[begin]));
    while (right && end > begin && is_white_space(decode_utf8(text, utf8_before(text, end))))
      end = utf8_before(text, end);
    text = text.substr(begin, end - begin);
  };
}

}  // namespace

Normalizer::Step remove_extra_spaces() {
  return [](std::string& text, bool) {
    std::string out;
    for (const char c : text)
      if (c != ' ' || (!out.empty() && out.back() != ' ')) out.push_back(c);
    if (!out.empty() && out.back() == ' ') out.pop_back();
    text = std::move(out);
  };
}

Normalizer::Step drop_at_end(std::string dropped) {
  return [dropped = std::move(dropped)](std::string& text, bool) {
    while (text.ends_with(dropped)) text.erase(text.size() - dropped.size());
  };
}

Status parse_strip(const nlohmann::json& description, Normalizer& out) {
  SLUICE_TRY(const bool left, bool_field(description, "strip_left", true));
  SLUICE_TRY(const bool right, bool_field(description, "strip_right", true));
  out.add(strip_white_space(left, right), kDropsText);
  return {};
}

}  // namespace sluice
