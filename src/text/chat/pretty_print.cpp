// jinja2's filter pprint: Python's pprint, 80 columns wide, the keys of dicts in order.
#include <algorithm>

#include "text/chat/operators.h"
#include "text/chat/runtime.h"
#include "text/chat/text_ops.h"
#include "text/chat/unicode.h"

namespace sluice::jinja {
namespace {

constexpr int64_t kWidth = 80;

int64_t columns(const MarkedText& text) { return static_cast<int64_t>(code_point_count(text.bytes())); }

class Printer {
 public:
  explicit Printer(Budget& budget) : budget_(budget) {}

  /// Writes the value from column `indent` on; `allowance` columns must stay free behind it.
  void print(const Value& value, int64_t indent, int64_t allowance, int level) {
    const Budget::Depth depth(budget_);
    const MarkedText on_one_line = one_line(value);
    const bool fits = columns(on_one_line) <= kWidth - indent - allowance;
    if (!fits && value.is_dict())
      print_dict(value.dict(), indent, allowance, level + 1);
    else if (!fits && (value.is_list() || value.is_tuple()))
      print_items(value.sequence().items, value.is_list(), indent, allowance, level + 1);
    else if (!fits && value.is_text())
      print_text(value.text(), indent, allowance, level + 1);
    else
      out_.append(on_one_line);
  }
  MarkedText take() { return std::move(out_); }

 private:
  using Entries = std::vector<Dict::Entry>;

  /// Python orders keys that have no order by the names of their types: None, numbers, strings, tuples.
  Entries in_order(const Dict& dict) {
    Entries entries = dict.entries();
    const auto kind = [](const Value& key) { return key.is_none() ? 0 : key.is_number() ? 1 : key.is_text() ? 2 : 3; };
    std::ranges::stable_sort(entries, [&](const Dict::Entry& a, const Dict::Entry& b) {
      if (kind(a.first) != kind(b.first)) return kind(a.first) < kind(b.first);
      if (kind(a.first) == 0) return false;
      try {
        return less(a.first, b.first, budget_);
      } catch (const TemplateError& error) {
        if (error.kind != "TypeError") throw;
        return false;  // tuples of unlike things: Python takes their addresses
      }
    });
    return entries;
  }

  /// repr(value), but for the order of keys.
  MarkedText one_line(const Value& value) {
    const Budget::Depth depth(budget_);
    MarkedText out;
    if (value.is_dict()) {
      out.append("{", true);
      for (const auto& [key, item] : in_order(value.dict())) {
        if (out.size() > 1) out.append(", ", true);
        out.append(one_line(key));
        out.append(": ", true);
        out.append(one_line(item));
      }
      out.append("}", true);
    } else if (value.is_list() || value.is_tuple()) {
      out.append(value.is_list() ? "[" : "(", true);
      for (const Value& item : value.sequence().items) {
        if (out.size() > 1) out.append(", ", true);
        out.append(one_line(item));
      }
      out.append(value.is_list() ? "]" : value.sequence().items.size() == 1 ? ",)" : ")", true);
    } else {
      return repr(value, budget_);
    }
    budget_.allocate(out.size());
    return out;
  }

  void new_line(int64_t indent) {
    const auto spaces = static_cast<size_t>(indent);
    budget_.allocate(spaces + 1);
    out_.append("\n" + std::string(spaces, ' '), true);
  }

  void print_dict(const Dict& dict, int64_t indent, int64_t allowance, int level) {
    out_.append("{", true);
    const Entries entries = in_order(dict);
    ++indent;
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) {
        out_.append(",", true);
        new_line(indent);
      }
      const MarkedText key = one_line(entries[i].first);
      out_.append(key);
      out_.append(": ", true);
      print(entries[i].second, indent + columns(key) + 2, i + 1 == entries.size() ? allowance + 1 : 1, level);
    }
    out_.append("}", true);
  }

  void print_items(const std::vector<Value>& items, bool is_list, int64_t indent, int64_t allowance, int level) {
    const std::string_view end = is_list ? "]" : items.size() == 1 ? ",)" : ")";
    out_.append(is_list ? "[" : "(", true);
    ++indent;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) {
        out_.append(",", true);
        new_line(indent);
      }
      print(items[i], indent, i + 1 == items.size() ? allowance + static_cast<int64_t>(end.size()) : 1, level);
    }
    out_.append(end, true);
  }

  /// Cut at white space into strings that stand below each other, in brackets where they are the whole.
  void print_text(const MarkedText& text, int64_t indent, int64_t allowance, int level) {
    if (level == 1) ++indent, ++allowance;
    std::vector<MarkedText> chunks;
    const std::vector<MarkedText> lines = split_lines(text, true, budget_);
    for (size_t i = 0; i < lines.size(); ++i) {
      const int64_t room = kWidth - indent, last_room = room - allowance;
      const bool last = i + 1 == lines.size();
      const MarkedText whole = repr_text(lines[i]);
      if (columns(whole) <= (last ? last_room : room))
        chunks.push_back(whole);
      else
        add_words(lines[i], room, last ? last_room : room, chunks);
    }
    if (level == 1 && chunks.size() > 1) out_.append("(", true);
    for (size_t i = 0; i < chunks.size(); ++i) {
      if (i > 0) new_line(indent);
      budget_.allocate(chunks[i].size());
      out_.append(chunks[i]);
    }
    if (level == 1 && chunks.size() > 1) out_.append(")", true);
  }

  /// As many words with the white space behind them as fit; the last of them in `last_room`.
  void add_words(const MarkedText& line, int64_t room, int64_t last_room, std::vector<MarkedText>& chunks) {
    const std::string& s = line.bytes();
    const auto skip = [&](size_t at, bool spaces) {
      while (at < s.size() && is_space(code_point_at(s, at).value) == spaces) at += code_point_at(s, at).bytes;
      return at;
    };
    size_t begin = 0;
    for (size_t at = 0; at < s.size();) {
      const size_t end = skip(skip(at, false), true);
      const MarkedText candidate = repr_text(line.slice(begin, end - begin));
      budget_.allocate(candidate.size());
      if (columns(candidate) > (end == s.size() ? last_room : room) && at > begin) {
        chunks.push_back(repr_text(line.slice(begin, at - begin)));
        begin = at;
      }
      at = end;
    }
    chunks.push_back(repr_text(line.slice(begin, s.size() - begin)));
  }

  Budget& budget_;
  MarkedText out_;
};

}  // namespace

Value pretty_print(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("pprint", args, {});
  Printer printer(runtime.budget);
  printer.print(in, 0, 0, 0);
  return printer.take();
}

}  // namespace sluice::jinja
