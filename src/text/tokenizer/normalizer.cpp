#include "text/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>

#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/regex.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

using nlohmann::json;
constexpr int kMaxNesting = 8;

Normalizer::Step replace_pattern(Regex regex, std::string to) {
  return [regex = std::move(regex), to = std::move(to)](std::string& text, bool) {
    std::string out;
    size_t at = 0, search = 0;
    Regex::Match match;
    while (search <= text.size() && regex.find(text, search, match) == Regex::Outcome::match) {
      out.append(text, at, match.begin - at).append(to);
      at = match.end;
      search = match.end;
      if (match.begin == match.end) {  // an empty match: step over one character
        search += search < text.size() ? utf8_length(static_cast<unsigned char>(text[search])) : 1;
      }
    }
    out.append(text, at, std::string::npos);
    text = std::move(out);
  };
}

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

Status parse_into(const json& description, int depth, Normalizer& out) {
  if (description.is_null()) return {};
  if (depth > kMaxNesting) return corrupt_data("normalizer: nested too deeply");
  SLUICE_TRY(const std::string type, type_of(description, "normalizer"));
  if (type == "Sequence") {
    const json* list = find_field(description, "normalizers");
    if (list == nullptr || !list->is_array()) return corrupt_data("normalizer Sequence: 'normalizers' is not a list");
    for (const json& entry : *list) SLUICE_TRY_STATUS(parse_into(entry, depth + 1, out));
  } else if (type == "NFC") {
    out.add(normal_form(NormalForm::nfc), kNormalFormShrinks);
  } else if (type == "NFD") {
    out.add(normal_form(NormalForm::nfd), kNormalFormShrinks);
  } else if (type == "NFKC") {
    out.add(normal_form(NormalForm::nfkc), kNormalFormShrinks);
  } else if (type == "NFKD") {
    out.add(normal_form(NormalForm::nfkd), kNormalFormShrinks);
  } else if (type == "Prepend") {
    SLUICE_TRY(std::string prefix, string_field(description, "prepend"));
    out.add(prepend_text(std::move(prefix), false));
  } else if (type == "Strip") {
    SLUICE_TRY(const bool left, bool_field(description, "strip_left", true));
    SLUICE_TRY(const bool right, bool_field(description, "strip_right", true));
    out.add(strip_white_space(left, right), kDropsText);
  } else if (type == "Replace") {
    const json* pattern = find_field(description, "pattern");
    SLUICE_TRY(std::string to, string_field(description, "content"));
    if (pattern != nullptr && find_field(*pattern, "String") != nullptr) {
      SLUICE_TRY(std::string from, string_field(*pattern, "String"));
      const double shrinks = static_cast<double>(from.size()) / static_cast<double>(to.size());
      out.add(replace_text(std::move(from), std::move(to)), std::max(1.0, shrinks));
    } else if (pattern != nullptr && find_field(*pattern, "Regex") != nullptr) {
      SLUICE_TRY(const std::string source, string_field(*pattern, "Regex"));
      SLUICE_TRY(Regex regex, Regex::compile(source));
      out.add(replace_pattern(std::move(regex), std::move(to)), kDropsText);
    } else {
      return corrupt_data("normalizer Replace: 'pattern' has neither String nor Regex");
    }
  } else {
    return unsupported(
        fmt::format("normalizer of type '{}' (known: Sequence, NFC, NFD, NFKC, NFKD, Prepend, Strip, "
                    "Replace)",
                    type));
  }
  return {};
}

}  // namespace

std::string Normalizer::apply(std::string_view text, bool at_start) const {
  std::string out(text);
  for (const Step& step : steps_) step(out, at_start);
  return out;
}

Normalizer::Step normal_form(NormalForm form) {
  return [form](std::string& text, bool) {
    if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; })) return;
    const bool compose = form == NormalForm::nfc || form == NormalForm::nfkc;
    const bool compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
    const int options =
        UTF8PROC_STABLE | (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) | (compatible ? UTF8PROC_COMPAT : 0);
    utf8proc_uint8_t* mapped = nullptr;
    const utf8proc_ssize_t length =
        utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                     &mapped, static_cast<utf8proc_option_t>(options));
    CHECK(length >= 0, "utf8proc: {}", utf8proc_errmsg(length));
    text.assign(reinterpret_cast<const char*>(mapped), static_cast<size_t>(length));
    std::free(mapped);
  };
}

Normalizer::Step prepend_text(std::string prefix, bool only_at_start) {
  return [prefix = std::move(prefix), only_at_start](std::string& text, bool at_start) {
    if (!text.empty() && (at_start || !only_at_start)) text.insert(0, prefix);
  };
}

Normalizer::Step replace_text(std::string from, std::string to) {
  return [from = std::move(from), to = std::move(to)](std::string& text, bool) {
    if (from.empty() || text.find(from) == std::string::npos) return;
    std::string out;
    size_t at = 0;
    for (size_t hit; (hit = text.find(from, at)) != std::string::npos; at = hit + from.size())
      out.append(text, at, hit - at).append(to);
    out.append(text, at, std::string::npos);
    text = std::move(out);
  };
}

Normalizer::Step remove_extra_spaces() {
  return [](std::string& text, bool) {
    std::string out;
    for (const char c : text)
      if (c != ' ' || (!out.empty() && out.back() != ' ')) out.push_back(c);
    if (!out.empty() && out.back() == ' ') out.pop_back();
    text = std::move(out);
  };
}

Result<Normalizer> parse_normalizer(const json& description) {
  Normalizer out;
  SLUICE_TRY_STATUS(parse_into(description, 0, out));
  return out;
}

}  // namespace sluice
