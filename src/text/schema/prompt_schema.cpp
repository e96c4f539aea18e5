#include "text/schema/prompt_schema.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <utility>

namespace sluice {
namespace {

constexpr size_t kMostName = 64;

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_name_char(char c) { return is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.'; }
bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_blank(std::string_view text) { return std::ranges::all_of(text, is_space); }

/// Text as it stands between two tags, without the line break after the first and the indented line of the second.
std::string trimmed(std::string text) {
  if (text.starts_with("\r\n")) text.erase(0, 2);
  else if (text.starts_with('\n')) text.erase(0, 1);
  size_t end = text.size();
  while (end > 0 && (text[end - 1] == ' ' || text[end - 1] == '\t')) --end;
  if (end > 0 && text[end - 1] == '\n') text.resize(end > 1 && text[end - 2] == '\r' ? end - 2 : end - 1);
  return text;
}

struct Tag {
  std::string name;
  std::map<std::string, std::string, std::less<>> attributes;
  bool closes = false, empty = false;  // </x>, <x/>
  int line = 0;
};

class Parser {
 public:
  Parser(std::string_view text, const std::string& origin) : text_(text), origin_(origin) {}

  Result<PromptSchema> parse() {
    schema_.origin = origin_;
    SLUICE_TRY(const std::string before, text_until_tag());
    if (!is_blank(before) || at_end()) return wrong(line_, "a schema begins with <schema name=\"...\">");
    SLUICE_TRY(const Tag root, tag());
    if (root.name != "schema" || root.closes || root.empty) return wrong(root.line, "the first tag must be <schema name=\"...\">");
    SLUICE_TRY_STATUS(only(root, {"name"}));
    SLUICE_TRY(schema_.name, name_of(root));
    SLUICE_TRY_STATUS(body(root));
    SLUICE_TRY(const std::string after, text_until_tag());
    if (!is_blank(after) || !at_end()) return wrong(line_, "there is something behind </schema>");
    SLUICE_TRY_STATUS(check());
    return std::move(schema_);
  }

 private:
  Error wrong(int line, std::string text) const { return invalid_argument(fmt::format("{}:{}: {}", origin_, line, text), "--prompt-schema"); }
  bool at_end() const { return at_ == text_.size(); }

  void skip(size_t n) {
    for (; n > 0; --n) line_ += text_[at_++] == '\n';
  }
  void skip_space() {
    while (!at_end() && is_space(text_[at_])) skip(1);
  }
  /// A '<' that opens no tag, as in "<|im_start|>" or "a < b", is text.
  bool tag_begins() const {
    if (at_ + 1 >= text_.size() || text_[at_] != '<') return false;
    const char next = text_[at_ + 1];
    return is_letter(next) || (next == '/' && at_ + 2 < text_.size() && is_letter(text_[at_ + 2]));
  }

  Result<std::string> entity() {
    constexpr std::array<std::pair<std::string_view, char>, 5> kEntities = {{{"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&quot;", '"'}, {"&apos;", '\''}}};
    for (const auto& [name, c] : kEntities)
      if (text_.substr(at_).starts_with(name)) {
        skip(name.size());
        return std::string(1, c);
      }
    skip(1);  // any other is text
    return std::string("&");
  }

  Result<std::string> text_until_tag() {
    std::string out;
    while (!at_end() && !tag_begins()) {
      if (text_.substr(at_).starts_with("<!--")) {
        const size_t end = text_.find("-->", at_);
        if (end == std::string_view::npos) return wrong(line_, "the comment that begins here does not end with -->");
        skip(end + 3 - at_);
      } else if (at_ == 0 && text_.starts_with("<?xml")) {
        skip(std::min(text_.find("?>"), text_.size() - 2) + 2);
      } else if (text_[at_] == '&') {
        SLUICE_TRY(const std::string c, entity());
        out += c;
      } else {
        out += text_[at_];
        skip(1);
      }
    }
    return out;
  }

  std::string word() {
    const size_t begin = at_;
    while (!at_end() && is_name_char(text_[at_])) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }

  /// The tag that begins here.
  Result<Tag> tag() {
    Tag out;
    out.line = line_;
    skip(1);
    if (text_[at_] == '/') out.closes = true, skip(1);
    out.name = word();
    while (true) {
      skip_space();
      if (at_end()) return wrong(out.line, fmt::format("<{} is not closed by >", out.name));
      if (text_[at_] == '>') break;
      if (text_[at_] == '/') {
        skip(1);
        if (at_end() || text_[at_] != '>' || out.closes) return wrong(line_, fmt::format("in <{}: / stands before > alone", out.name));
        out.empty = true;
        break;
      }
      const std::string key = word();
      skip_space();
      if (key.empty() || out.closes || at_end() || text_[at_] != '=')
        return wrong(line_, fmt::format("in <{}{}: attributes are written name=\"value\"", out.closes ? "/" : "", out.name));
      skip(1);
      skip_space();
      if (at_end() || text_[at_] != '"') return wrong(line_, fmt::format("in <{}: the value of {} must stand in double quotes", out.name, key));
      skip(1);
      std::string value;
      while (!at_end() && text_[at_] != '"' && text_[at_] != '<') value += text_[at_], skip(1);
      if (at_end() || text_[at_] != '"') return wrong(line_, fmt::format("in <{}: the value of {} does not end", out.name, key));
      skip(1);
      if (!out.attributes.emplace(key, std::move(value)).second) return wrong(line_, fmt::format("in <{}: {} is given twice", out.name, key));
    }
    skip(1);
    return out;
  }

  Status only(const Tag& tag, std::initializer_list<std::string_view> known) const {
    for (const auto& [key, value] : tag.attributes)
      if (std::ranges::find(known, key) == known.end())
        return wrong(tag.line, fmt::format("<{}> has no attribute {}; it has {}", tag.name, key, fmt::join(known, ", ")));
    return {};
  }

  Result<std::string> name_of(const Tag& tag) const {
    const auto it = tag.attributes.find("name");
    if (it == tag.attributes.end()) return wrong(tag.line, fmt::format("<{}> needs a name", tag.name));
    if (it->second.empty() || it->second.size() > kMostName || !std::ranges::all_of(it->second, is_name_char))
      return wrong(tag.line, fmt::format("the name of this <{}> must be 1 to {} letters, digits, '_', '-' or '.'", tag.name, kMostName));
    return it->second;
  }

  Status add(SchemaModule module) {
    if (schema_.modules.size() >= static_cast<size_t>(kMostSchemaModules))
      return wrong(module.line, fmt::format("a schema has at most {} modules", kMostSchemaModules));
    schema_.modules.push_back(std::move(module));
    return {};
  }

  /// What stands between <schema> and </schema>.
  Status body(const Tag& root) {
    while (true) {
      const int line = line_;
      SLUICE_TRY(std::string text, text_until_tag());
      if (!is_blank(text)) SLUICE_TRY_STATUS(add({"", {{trimmed(std::move(text)), "", 0}}, -1, line}));
      if (at_end()) return wrong(root.line, "the <schema> that begins here does not end");
      SLUICE_TRY(const Tag inner, tag());
      if (inner.closes) {
        if (inner.name == "schema") return {};
        return wrong(inner.line, fmt::format("</{}> closes nothing", inner.name));
      }
      if (inner.name == "module") SLUICE_TRY_STATUS(module(inner, -1));
      else if (inner.name == "union") SLUICE_TRY_STATUS(one_of(inner));
      else if (inner.name == "scaffold") SLUICE_TRY_STATUS(scaffold(inner));
      else if (inner.name == "parameter") return wrong(inner.line, "a <parameter> stands within a <module>");
      else return wrong(inner.line, fmt::format("<{}> is not known; a schema holds text, <module>, <union> and <scaffold>. Write &lt; for a < before a letter", inner.name));
    }
  }

  Status module(const Tag& open, int union_number) {
    SLUICE_TRY_STATUS(only(open, {"name"}));
    SchemaModule out;
    out.line = open.line;
    out.union_number = union_number;
    SLUICE_TRY(out.name, name_of(open));
    std::vector<SchemaPart> parts;
    while (!open.empty) {
      SLUICE_TRY(std::string text, text_until_tag());
      parts.push_back({std::move(text), "", 0});
      if (at_end()) return wrong(open.line, fmt::format("the module {} that begins here does not end", out.name));
      SLUICE_TRY(const Tag inner, tag());
      if (inner.closes && inner.name == "module") break;
      if (inner.name != "parameter" || inner.closes)
        return wrong(inner.line, fmt::format("<{}{}> within the module {}: a module holds text and <parameter name=\"...\" tokens=\"...\"/>. Write &lt; for a < "
                                             "before a letter", inner.closes ? "/" : "", inner.name, out.name));
      if (!inner.empty) return wrong(inner.line, "a parameter holds nothing: it is written <parameter name=\"...\" tokens=\"...\"/>");
      SLUICE_TRY_STATUS(only(inner, {"name", "tokens"}));
      SLUICE_TRY(std::string name, name_of(inner));
      if (std::ranges::any_of(parts, [&](const SchemaPart& p) { return p.parameter == name; }))
        return wrong(inner.line, fmt::format("the module {} has two parameters {}", out.name, name));
      int tokens = 0;
      const auto given = inner.attributes.find("tokens");
      const std::string_view digits = given == inner.attributes.end() ? "" : std::string_view(given->second);
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), tokens);
      if (error != std::errc() || end != digits.data() + digits.size() || tokens < 1 || tokens > kMostParameterTokens)
        return wrong(inner.line, fmt::format("the parameter {} needs tokens=\"N\", how many may stand in its place, from 1 to {}", name, kMostParameterTokens));
      parts.push_back({"", std::move(name), tokens});
    }
    // The line break after the opening tag and the last line's indentation belong to the file, not to the text.
    if (!parts.empty()) {
      if (parts.size() == 1) parts[0].text = trimmed(std::move(parts[0].text));
      else {
        std::string& first = parts.front().text;
        if (first.starts_with("\r\n")) first.erase(0, 2);
        else if (first.starts_with('\n')) first.erase(0, 1);
        std::string last = "x" + parts.back().text;  // only its end
        parts.back().text = trimmed(std::move(last)).substr(1);
      }
    }
    std::erase_if(parts, [](const SchemaPart& p) { return p.parameter.empty() && p.text.empty(); });
    if (parts.empty()) return wrong(open.line, fmt::format("the module {} is empty", out.name));
    out.parts = std::move(parts);
    return add(std::move(out));
  }

  Status one_of(const Tag& open) {
    SLUICE_TRY_STATUS(only(open, {}));
    const int number = unions_++;
    const size_t before = schema_.modules.size();
    while (!open.empty) {
      SLUICE_TRY(const std::string text, text_until_tag());
      if (!is_blank(text)) return wrong(line_, "within a <union> there is text outside of its modules");
      if (at_end()) return wrong(open.line, "the <union> that begins here does not end");
      SLUICE_TRY(const Tag inner, tag());
      if (inner.closes && inner.name == "union") break;
      if (inner.name != "module" || inner.closes) return wrong(inner.line, fmt::format("<{}{}> within a union: it holds modules alone", inner.closes ? "/" : "", inner.name));
      SLUICE_TRY_STATUS(module(inner, number));
    }
    if (schema_.modules.size() < before + 2) return wrong(open.line, "a union needs at least two modules");
    return {};
  }

  Status scaffold(const Tag& open) {
    SLUICE_TRY_STATUS(only(open, {"modules"}));
    if (!open.empty) return wrong(open.line, "a scaffold holds nothing: it is written <scaffold modules=\"a b\"/>");
    std::vector<std::string> names;
    const auto given = open.attributes.find("modules");
    for (std::string_view rest = given == open.attributes.end() ? "" : std::string_view(given->second); !rest.empty();) {
      const size_t n = std::min(rest.find(' '), rest.size());
      if (n > 0) names.emplace_back(rest.substr(0, n));
      rest.remove_prefix(std::min(n + 1, rest.size()));
    }
    if (names.size() < 2) return wrong(open.line, "a scaffold names at least two modules: <scaffold modules=\"a b\"/>");
    scaffold_lines_.push_back(open.line);
    schema_.scaffolds.push_back(std::move(names));
    return {};
  }

  const SchemaModule* find(const std::string& name) const {
    const auto it = std::ranges::find(schema_.modules, name, &SchemaModule::name);
    return it == schema_.modules.end() ? nullptr : &*it;
  }

  Status check() const {
    std::map<std::string, int> lines;
    for (const SchemaModule& m : schema_.modules)
      if (!m.name.empty())
        if (const auto [it, fresh] = lines.emplace(m.name, m.line); !fresh)
          return wrong(m.line, fmt::format("there is a module {} in line {} already", m.name, it->second));
    std::map<std::string, int> scaffold_of;
    for (size_t i = 0; i < schema_.scaffolds.size(); ++i) {
      std::vector<int> unions;
      for (const std::string& name : schema_.scaffolds[i]) {
        const SchemaModule* m = find(name);
        if (m == nullptr) return wrong(scaffold_lines_[i], fmt::format("the scaffold names {}, which is no module", name));
        if (!scaffold_of.emplace(name, scaffold_lines_[i]).second)
          return wrong(scaffold_lines_[i], fmt::format("the module {} is in a scaffold already, in line {}", name, scaffold_of[name]));
        if (m->union_number >= 0 && std::ranges::find(unions, m->union_number) != unions.end())
          return wrong(scaffold_lines_[i], fmt::format("the scaffold names {} and another of its union, which are never used together", name));
        if (m->union_number >= 0) unions.push_back(m->union_number);
      }
    }
    return {};
  }

  std::string_view text_;
  const std::string& origin_;
  size_t at_ = 0;
  int line_ = 1, unions_ = 0;
  PromptSchema schema_;
  std::vector<int> scaffold_lines_;
};

}  // namespace

Result<PromptSchema> parse_prompt_schema(std::string_view text, const std::string& origin) { return Parser(text, origin).parse(); }

}  // namespace sluice
