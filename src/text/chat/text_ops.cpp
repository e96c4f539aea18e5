#include "text/chat/text_ops.h"

#include <algorithm>
#include <set>

#include "text/chat/unicode.h"

namespace sluice::jinja {
namespace {

/// Start of the code point that ends at byte `end`.
size_t previous_start(std::string_view s, size_t end) {
  size_t start = end - 1;
  while (start > 0 && end - start < 4 && (static_cast<unsigned char>(s[start]) & 0xC0) == 0x80) --start;
  return start;
}

size_t next_space(std::string_view s, size_t pos, bool wanted) {
  while (pos < s.size()) {
    const auto c = code_point_at(s, pos);
    if (is_space(c.value) == wanted) break;
    pos += c.bytes;
  }
  return pos;
}

size_t previous_space(std::string_view s, size_t end, bool wanted) {
  while (end > 0) {
    const size_t start = previous_start(s, end);
    if (is_space(code_point_at(s, start).value) == wanted) break;
    end = start;
  }
  return end;
}

std::vector<MarkedText> split_space(const MarkedText& text, int64_t limit) {
  const std::string& s = text.bytes();
  std::vector<MarkedText> parts;
  size_t pos = next_space(s, 0, false);
  while (pos < s.size()) {
    if (limit >= 0 && static_cast<int64_t>(parts.size()) >= limit) {
      parts.push_back(text.slice(pos, s.size() - pos));  // with the white space at its end
      break;
    }
    const size_t end = next_space(s, pos, true);
    parts.push_back(text.slice(pos, end - pos));
    pos = next_space(s, end, false);
  }
  return parts;
}

std::vector<MarkedText> split_space_from_right(const MarkedText& text, int64_t limit) {
  const std::string& s = text.bytes();
  std::vector<MarkedText> parts;
  size_t end = previous_space(s, s.size(), false);
  while (end > 0) {
    if (limit >= 0 && static_cast<int64_t>(parts.size()) >= limit) {
      parts.push_back(text.slice(0, end));
      break;
    }
    const size_t start = previous_space(s, end, true);
    parts.push_back(text.slice(start, end - start));
    end = previous_space(s, start, false);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace

size_t find_last(std::string_view s, std::string_view needle, size_t end, Budget& budget) {
  if (needle.size() > end) return std::string::npos;
  for (size_t at = end - needle.size() + 1; at-- > 0;) {
    if (needle.empty() || s[at] == needle[0]) {
      budget.read(needle.size());
      if (s.compare(at, needle.size(), needle) == 0) return at;
    }
  }
  return std::string::npos;
}

MarkedText strip(const MarkedText& text, const MarkedText* chars, bool left, bool right) {
  const std::string& s = text.bytes();
  std::set<char32_t> set;
  if (chars != nullptr)
    for (size_t i = 0; i < chars->size();) {
      const auto c = code_point_at(chars->bytes(), i);
      set.insert(c.value);
      i += c.bytes;
    }
  const auto drops = [&](char32_t c) { return chars == nullptr ? is_space(c) : set.contains(c); };
  size_t begin = 0, end = s.size();
  while (left && begin < end) {
    const auto c = code_point_at(s, begin);
    if (!drops(c.value)) break;
    begin += c.bytes;
  }
  while (right && end > begin) {
    const size_t start = previous_start(s, end);
    if (!drops(code_point_at(s, start).value)) break;
    end = start;
  }
  return text.slice(begin, end - begin);
}

MarkedText change_case(const MarkedText& text, Case to, Budget& budget) {
  const std::string& s = text.bytes();
  budget.allocate(2 * s.size());
  MarkedText out;
  out.reserve(s.size());
  bool inside_word = false;  // for title: the character before was cased
  for (size_t i = 0; i < s.size();) {
    const auto c = code_point_at(s, i);
    const bool first = i == 0;
    std::string mapped;
    switch (to) {
      case Case::upper: mapped = to_upper(c.value); break;
      case Case::lower: mapped = to_lower(c.value); break;
      case Case::folded: mapped = to_folded(c.value); break;
      case Case::swap:
        mapped = is_upper(c.value) ? to_lower(c.value) : is_lower(c.value) ? to_upper(c.value) : s.substr(i, c.bytes);
        break;
      case Case::title:
        mapped = inside_word ? to_lower(c.value) : to_title(c.value);
        inside_word = is_cased(c.value);
        break;
      case Case::capitalized: mapped = first ? to_title(c.value) : to_lower(c.value); break;
    }
    out.append(mapped, text.trusted_at(i));
    i += c.bytes;
  }
  return out;
}

MarkedText replace(const MarkedText& text, const MarkedText& old, const MarkedText& with, int64_t count,
                   Budget& budget) {
  const std::string& s = text.bytes();
  MarkedText out;
  budget.allocate(s.size());
  if (old.empty()) {  // before every character, and at the end
    for (size_t i = 0;;) {
      if (count != 0) {
        budget.allocate(with.size());
        out.append(with);
        --count;
      }
      if (i >= s.size()) return out;
      const size_t bytes = code_point_at(s, i).bytes;
      out.append(text, i, bytes);
      i += bytes;
    }
  }
  size_t pos = 0;
  while (count != 0) {
    const size_t at = find_bytes(s, old.bytes(), pos);
    if (at == std::string::npos) break;
    budget.allocate(with.size());
    out.append(text, pos, at - pos);
    out.append(with);
    pos = at + old.size();
    --count;
  }
  out.append(text, pos, s.size() - pos);
  return out;
}

MarkedText join(const MarkedText& separator, const std::vector<MarkedText>& parts, Budget& budget) {
  MarkedText out;
  for (size_t i = 0; i < parts.size(); ++i) {
    budget.allocate(parts[i].size() + separator.size());
    if (i > 0) out.append(separator);
    out.append(parts[i]);
  }
  return out;
}

std::vector<MarkedText> split(const MarkedText& text, const MarkedText* separator, int64_t limit, bool from_right,
                              Budget& budget) {
  const std::string& s = text.bytes();
  budget.allocate(s.size());
  std::vector<MarkedText> parts;
  if (separator == nullptr) {
    parts = from_right ? split_space_from_right(text, limit) : split_space(text, limit);
  } else if (separator->empty()) {
    fail_value("empty separator");
  } else if (!from_right) {
    size_t pos = 0;
    while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
      const size_t at = find_bytes(s, separator->bytes(), pos);
      if (at == std::string::npos) break;
      parts.push_back(text.slice(pos, at - pos));
      pos = at + separator->size();
    }
    parts.push_back(text.slice(pos, s.size() - pos));
  } else {
    size_t end = s.size();
    while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
      const size_t at = find_last(s, separator->bytes(), end, budget);
      if (at == std::string::npos) break;
      parts.push_back(text.slice(at + separator->size(), end - at - separator->size()));
      end = at;
    }
    parts.push_back(text.slice(0, end));
    std::reverse(parts.begin(), parts.end());
  }
  return parts;
}

std::vector<MarkedText> split_lines(const MarkedText& text, bool keep_ends, Budget& budget) {
  const std::string& s = text.bytes();
  budget.allocate(s.size());
  std::vector<MarkedText> lines;
  size_t begin = 0;
  for (size_t i = 0; i < s.size();) {
    const auto c = code_point_at(s, i);
    size_t after = i + c.bytes;
    if (is_line_break(c.value)) {
      if (c.value == '\r' && after < s.size() && s[after] == '\n') ++after;
      lines.push_back(text.slice(begin, (keep_ends ? after : i) - begin));
      begin = after;
    }
    i = after;
  }
  if (begin < s.size()) lines.push_back(text.slice(begin, s.size() - begin));
  return lines;
}

MarkedText indent(const MarkedText& text, const MarkedText& by, bool first, bool blank, Budget& budget) {
  MarkedText closed = text;
  closed.append("\n", true);  // as jinja2 does, so that a final newline counts as a line of its own
  const auto lines = split_lines(closed, false, budget);
  MarkedText out;
  for (size_t i = 0; i < lines.size(); ++i) {
    budget.allocate(by.size() + 1);
    if (i > 0) out.append("\n", true);
    if (i == 0 ? first : blank || !lines[i].empty()) out.append(by);
    out.append(lines[i]);
  }
  return out;
}

Value list_of(std::vector<MarkedText> parts, Budget& budget) {
  budget.allocate(parts.size() * (sizeof(Value) + sizeof(MarkedText)));
  std::vector<Value> items;
  items.reserve(parts.size());
  for (auto& part : parts) items.emplace_back(std::move(part));
  return make_list(std::move(items));
}

}  // namespace sluice::jinja
