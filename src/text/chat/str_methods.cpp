#include <algorithm>
#include <array>

#include "text/chat/operators.h"
#include "text/chat/printf_format.h"
#include "text/chat/runtime.h"
#include "text/chat/text_ops.h"
#include "text/chat/unicode.h"

namespace sluice::jinja {
namespace {

void charge(Runtime& runtime, const Value& self) { runtime.budget.read(self.text().size()); }

template <Case to>
Value in_case(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("case", args, {});
  return change_case(self.text(), to, runtime.budget);
}

template <bool left, bool right>
Value stripped(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("strip", args, {"chars"});
  runtime.budget.allocate(self.text().size());
  return strip(self.text(), bound.text(0), left, right);
}

/// The byte range that start and end (counted in characters) select.
std::pair<size_t, size_t> selected(const std::string& s, const Bound& bound, size_t first) {
  if (bound[first] == nullptr && bound[first + 1] == nullptr) return {0, s.size()};
  const auto offsets = code_point_offsets(s);
  const auto n = static_cast<int64_t>(offsets.size()) - 1;
  const auto at = [&](size_t i, int64_t otherwise) {
    const bool absent = bound[i] == nullptr || bound[i]->is_none();
    int64_t v = absent ? otherwise : bound.integer(i, 0);
    if (v < 0) v = std::max<int64_t>(v + n, 0);
    return v;
  };
  const int64_t from = at(first, 0), to = std::min(at(first + 1, n), n);
  if (from > n) return {1, 0};  // no position at all
  return {offsets[static_cast<size_t>(from)], offsets[static_cast<size_t>(std::max(from, to))]};
}

template <bool at_start>
Value affix(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound(at_start ? "startswith" : "endswith", args, {"prefix", "start", "end"});
  charge(runtime, self);
  const auto [begin, end] = selected(self.str(), bound, 1);
  if (begin > end) return false;
  const std::string_view s = std::string_view(self.str()).substr(begin, end - begin);
  const auto matches = [&](const Value& fix) {
    if (!fix.is_text())
      fail_type(fmt::format("{} first arg must be str or a tuple of str, not {}",
                            at_start ? "startswith" : "endswith", fix.type_name()));
    return at_start ? s.starts_with(fix.str()) : s.ends_with(fix.str());
  };
  const Value& fix = bound.required(0);
  if (!fix.is_tuple()) return matches(fix);
  runtime.budget.step(fix.sequence().items.size());
  return std::any_of(fix.sequence().items.begin(), fix.sequence().items.end(), matches);
}

template <bool last, bool must>
Value position(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("find", args, {"sub", "start", "end"});
  charge(runtime, self);
  bound.required(0);
  const MarkedText* needle = bound.text(0);
  if (needle == nullptr) fail_type("find() argument 1 must be str, not None");
  const auto [begin, end] = selected(self.str(), bound, 1);
  if (begin <= end) {
    const std::string_view s = std::string_view(self.str()).substr(begin, end - begin);
    const size_t at =
        last ? find_last(s, needle->bytes(), s.size(), runtime.budget) : find_bytes(s, needle->bytes(), 0);
    if (at != std::string::npos)
      return static_cast<int64_t>(code_point_count(std::string_view(self.str()).substr(0, begin + at)));
  }
  if (must) fail_value("substring not found");
  return -1;
}

Value count_in_str(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("count", args, {"sub", "start", "end"});
  charge(runtime, self);
  bound.required(0);
  const MarkedText* needle = bound.text(0);
  if (needle == nullptr) fail_type("count() argument 1 must be str, not None");
  const auto [begin, end] = selected(self.str(), bound, 1);
  if (begin > end) return 0;
  const std::string_view s = std::string_view(self.str()).substr(begin, end - begin);
  if (needle->empty()) return static_cast<int64_t>(code_point_count(s)) + 1;
  int64_t n = 0;
  for (size_t at = find_bytes(s, needle->bytes(), 0); at != std::string::npos;
       at = find_bytes(s, needle->bytes(), at + needle->size()))
    ++n;
  return n;
}

Value replaced(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("replace", args, {"old", "new", "count"});
  bound.required(0);
  bound.required(1);
  if (bound.text(0) == nullptr || bound.text(1) == nullptr) fail_type("replace() argument must be str, not None");
  return replace(self.text(), *bound.text(0), *bound.text(1), bound.integer(2, -1), runtime.budget);
}

Value joined(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("join", args, {"iterable"});
  const auto items = iterate(bound.required(0), runtime.budget);
  std::vector<MarkedText> parts;
  for (size_t i = 0; i < items->items.size(); ++i) {
    const Value& item = items->items[i];
    if (!item.is_text())
      fail_type(fmt::format("sequence item {}: expected str instance, {} found", i, item.type_name()));
    runtime.budget.allocate(item.text().size());
    parts.push_back(item.text());
  }
  return join(self.text(), parts, runtime.budget);
}

template <char align>
Value padded(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("center", args, {"width", "fillchar"});
  bound.required(0);
  const int64_t width = std::max<int64_t>(bound.integer(0, 0), 0);
  FormatSpec spec;
  if (const MarkedText* fill = bound.text(1)) {
    if (code_point_count(fill->bytes()) != 1) fail_type("The fill character must be exactly one character long");
    spec.fill = *fill;
  }
  const auto have = static_cast<int64_t>(code_point_count(self.str()));
  if (width > have && static_cast<uint64_t>(width - have) > runtime.budget.limits().max_alloc_bytes)
    fail_limit(fmt::format("a text padded to {} characters", width));
  spec.width = static_cast<size_t>(width);
  spec.align = align;
  // str.center puts the odd space on the left when the width is odd; format puts it on the right.
  if (align == '^' && width > have && (width - have) % 2 == 1 && width % 2 == 1) {
    MarkedText shifted = spec.fill;
    shifted.append(self.text());
    return pad(std::move(shifted), spec, align, runtime.budget);
  }
  return pad(self.text(), spec, align, runtime.budget);
}

Value zfill(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("zfill", args, {"width"});
  bound.required(0);
  const int64_t width = bound.integer(0, 0);
  if (width > static_cast<int64_t>(kMaxFormatWidth)) fail_limit("a format width above 65536");
  FormatSpec spec;
  spec.fill = MarkedText("0", true);
  spec.width = static_cast<size_t>(std::max<int64_t>(width, 0));
  spec.align = '=';
  return self.str().starts_with(' ') ? (spec.align = '>', pad(self.text(), spec, '>', runtime.budget))
                                     : pad(self.text(), spec, '=', runtime.budget);
}

Value formatted(Runtime& runtime, const Value& self, const Arguments& args) {
  return brace_format(self.text(), args, runtime.budget);
}

/// True for a non-empty text all of whose characters are `kind`.
template <bool (*kind)(char32_t)>
Value all_are(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("is", args, {});
  charge(runtime, self);
  for (size_t i = 0; i < self.str().size();) {
    const auto c = code_point_at(self.str(), i);
    if (!kind(c.value)) return false;
    i += c.bytes;
  }
  return !self.text().empty();
}

bool is_alnum(char32_t c) { return is_alpha(c) || is_numeric(c); }

Value isascii(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("isascii", args, {});
  charge(runtime, self);
  return is_ascii(self.str());
}

/// isupper and islower: at least one cased character, and none of the other case.
template <bool upper>
Value all_cased(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("is", args, {});
  charge(runtime, self);
  bool any = false;
  for (size_t i = 0; i < self.str().size();) {
    const auto c = code_point_at(self.str(), i);
    if (is_cased(c.value)) {
      if (upper ? !is_upper(c.value) : !is_lower(c.value)) return false;
      any = true;
    }
    i += c.bytes;
  }
  return any;
}

Value istitle(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("istitle", args, {});
  const MarkedText title = change_case(self.text(), Case::title, runtime.budget);
  const auto cased = [](const std::string& s) {
    for (size_t i = 0; i < s.size();) {
      const auto c = code_point_at(s, i);
      if (is_cased(c.value)) return true;
      i += c.bytes;
    }
    return false;
  };
  return title.bytes() == self.str() && cased(self.str());
}

template <bool prefix>
Value without_affix(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("removeprefix", args, {"prefix"});
  bound.required(0);
  const MarkedText* fix = bound.text(0);
  if (fix == nullptr) fail_type("removeprefix() argument must be str, not None");
  runtime.budget.allocate(self.text().size());
  const std::string& s = self.str();
  if (prefix && s.starts_with(fix->bytes())) return self.text().slice(fix->size(), s.size() - fix->size());
  if (!prefix && s.ends_with(fix->bytes())) return self.text().slice(0, s.size() - fix->size());
  return self;
}

constexpr std::array<NamedFunction, 35> kStrMethods = {{
    {"upper", in_case<Case::upper>},
    {"lower", in_case<Case::lower>},
    {"casefold", in_case<Case::folded>},
    {"title", in_case<Case::title>},
    {"capitalize", in_case<Case::capitalized>},
    {"swapcase", in_case<Case::swap>},
    {"strip", stripped<true, true>},
    {"lstrip", stripped<true, false>},
    {"rstrip", stripped<false, true>},
    {"startswith", affix<true>},
    {"endswith", affix<false>},
    {"find", position<false, false>},
    {"rfind", position<true, false>},
    {"index", position<false, true>},
    {"rindex", position<true, true>},
    {"count", count_in_str},
    {"replace", replaced},
    {"join", joined},
    {"center", padded<'^'>},
    {"ljust", padded<'<'>},
    {"rjust", padded<'>'>},
    {"zfill", zfill},
    {"format", formatted},
    {"isspace", all_are<is_space>},
    {"isalpha", all_are<is_alpha>},
    {"isdigit", all_are<is_decimal>},
    {"isdecimal", all_are<is_decimal>},
    {"isnumeric", all_are<is_numeric>},
    {"isalnum", all_are<is_alnum>},
    {"isascii", isascii},
    {"isupper", all_cased<true>},
    {"islower", all_cased<false>},
    {"istitle", istitle},
    {"removeprefix", without_affix<true>},
    {"removesuffix", without_affix<false>},
}};

}  // namespace

std::span<const NamedFunction> str_methods() { return kStrMethods; }

}  // namespace sluice::jinja
