// The filter tojson as Hugging Face defines it: json.dumps(value, ensure_ascii, indent, separators, sort_keys).
#include <algorithm>
#include <cmath>

#include "text/chat/operators.h"
#include "text/chat/printf_format.h"
#include "text/chat/runtime.h"
#include "text/chat/unicode.h"

namespace sluice::jinja {
namespace {

class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, const Arguments& args)
      : runtime_(runtime), bound_("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"}) {
    ensure_ascii_ = bound_.flag(0, false);
    sort_keys_ = bound_.flag(3, false);
    if (bound_[1] != nullptr && !bound_[1]->is_none()) {
      pretty_ = true;
      if (bound_[1]->is_text()) {
        indent_ = bound_[1]->text();
      } else {
        const int64_t n = std::max<int64_t>(bound_.integer(1, 0), 0);
        if (n > static_cast<int64_t>(kMaxFormatWidth)) fail_limit("an indentation above 65536");
        indent_ = MarkedText(std::string(static_cast<size_t>(n), ' '), true);
      }
      item_separator_ = MarkedText(",", true);
    }
    if (bound_[2] != nullptr && !bound_[2]->is_none()) {
      const auto pair = iterate(*bound_[2], runtime.budget);
      if (pair->items.size() != 2 || !pair->items[0].is_text() || !pair->items[1].is_text())
        fail_type("separators must be a pair of strings");
      item_separator_ = pair->items[0].text();
      key_separator_ = pair->items[1].text();
    }
  }

  MarkedText run(const Value& value) {
    write(value, 0);
    return std::move(out_);
  }

 private:
  void write(const Value& value, int level) {
    const Budget::Depth depth(runtime_.budget);
    runtime_.budget.allocate(8);
    if (value.is_none()) out_.append("null", true);
    else if (value.is_bool()) out_.append(value.boolean() ? "true" : "false", true);
    else if (value.is_int()) out_.append(std::to_string(value.integer()), true);
    else if (value.is_double()) out_.append(number(value.real()), true);
    else if (value.is_text()) write_text(value.text());
    else if (value.is_list() || value.is_tuple()) write_list(value.sequence().items, level);
    else if (value.is_dict()) write_dict(value.dict(), level);
    else fail_type(fmt::format("Object of type {} is not JSON serializable", value.type_name()));
  }

  static std::string number(double d) {
    if (std::isnan(d)) return "NaN";
    if (std::isinf(d)) return d > 0 ? "Infinity" : "-Infinity";
    return repr_double(d);
  }

  void new_line(int level) {
    if (!pretty_) return;
    runtime_.budget.allocate(1 + indent_.size() * static_cast<size_t>(level));
    out_.append("\n", true);
    for (int i = 0; i < level; ++i) out_.append(indent_);
  }

  void separate(size_t i, int level) {
    if (i > 0) {
      runtime_.budget.allocate(item_separator_.size());
      out_.append(item_separator_);
    }
    new_line(level);
  }

  void write_list(const std::vector<Value>& items, int level) {
    out_.append("[", true);
    for (size_t i = 0; i < items.size(); ++i) {
      separate(i, level + 1);
      write(items[i], level + 1);
    }
    if (!items.empty()) new_line(level);
    out_.append("]", true);
  }

  void write_dict(const Dict& dict, int level) {
    auto entries = dict.entries();
    if (sort_keys_)
      std::stable_sort(entries.begin(), entries.end(), [&](const Dict::Entry& a, const Dict::Entry& b) {
        return less(a.first, b.first, runtime_.budget);
      });
    runtime_.budget.allocate(entries.size() * sizeof(Dict::Entry));
    out_.append("{", true);
    for (size_t i = 0; i < entries.size(); ++i) {
      separate(i, level + 1);
      write_key(entries[i].first);
      runtime_.budget.allocate(key_separator_.size());
      out_.append(key_separator_);
      write(entries[i].second, level + 1);
    }
    if (!entries.empty()) new_line(level);
    out_.append("}", true);
  }

  void write_key(const Value& key) {
    if (key.is_text()) return write_text(key.text());
    if (!key.is_number() && !key.is_none())
      fail_type(fmt::format("keys must be str, int, float, bool or None, not {}", key.type_name()));
    out_.append("\"", true);
    write(key, 0);
    out_.append("\"", true);
  }

  void write_text(const MarkedText& text) {
    const std::string& s = text.bytes();
    runtime_.budget.allocate(s.size() + 2);
    const bool quotes_trusted = text.trusted();
    out_.append("\"", quotes_trusted);
    for (size_t i = 0; i < s.size();) {
      const auto c = code_point_at(s, i);
      const bool trusted = text.trusted_at(i);
      switch (c.value) {
        case '"': out_.append("\\\"", trusted); break;
        case '\\': out_.append("\\\\", trusted); break;
        case '\n': out_.append("\\n", trusted); break;
        case '\r': out_.append("\\r", trusted); break;
        case '\t': out_.append("\\t", trusted); break;
        case '\b': out_.append("\\b", trusted); break;
        case '\f': out_.append("\\f", trusted); break;
        default:
          if (c.value >= 0x20 && (c.value < 0x7f || !ensure_ascii_)) out_.append(text, i, c.bytes);
          else out_.append(escaped(c.value), trusted);
      }
      i += c.bytes;
    }
    out_.append("\"", quotes_trusted);
  }

  static std::string escaped(char32_t c) {
    if (c < 0x10000) return fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    const auto rest = static_cast<unsigned>(c) - 0x10000;
    return fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + (rest >> 10), 0xdc00 + (rest & 0x3ff));
  }

  Runtime& runtime_;
  Bound bound_;
  bool ensure_ascii_ = false, sort_keys_ = false, pretty_ = false;
  MarkedText indent_;
  MarkedText item_separator_{", ", true};
  MarkedText key_separator_{": ", true};
  MarkedText out_;
};

}  // namespace

Value to_json(Runtime& runtime, const Value& value, const Arguments& args) {
  return JsonWriter(runtime, args).run(value);
}

}  // namespace sluice::jinja
