#include <algorithm>
#include <array>

#include "text/chat/operators.h"
#include "text/chat/unicode.h"

namespace sluice::jinja {
namespace {

// What the immutable sandbox refuses to call.
constexpr std::array<std::string_view, 8> kListChanges = {"append", "clear", "pop",    "reverse",
                                                          "insert", "sort",  "extend", "remove"};
constexpr std::array<std::string_view, 5> kDictChanges = {"clear", "pop", "popitem", "setdefault", "update"};

template <size_t N>
bool listed(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string described(const Value& value) {
  return value.is_none() ? std::string("None") : value.type_name() + " object";
}

Value missing_attribute(const Value& value, const std::string& name) {
  return Value::undefined(fmt::format("'{}' has no attribute '{}'", described(value), name));
}

/// The Python attribute `name`: a method, or an undefined that names the sandbox's refusal.
Value python_attribute(const Value& value, const std::string& name, bool& found) {
  found = true;
  const bool dunder = name.size() > 4 && name.starts_with("__") && name.ends_with("__");
  if (dunder || (value.is_list() && listed(kListChanges, name)) || (value.is_dict() && listed(kDictChanges, name)))
    return Value::undefined(fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, value.type_name()),
                            "SecurityError");
  if (value.is_object()) return value.object()->attribute(name, found);
  return find_method(value, name, found);
}

struct Bounds {
  int64_t start, step;
  size_t count;
};

/// Python's slice.indices over a sequence of `n` items.
Bounds slice_bounds(int64_t n, const Value* start, const Value* stop, const Value* step) {
  const auto bound = [](const Value* v) {
    v->defined();
    if (!v->is_integral()) fail_type("slice indices must be integers or None or have an __index__ method");
    return v->integer();
  };
  const auto given = [](const Value* v) { return v != nullptr && !v->is_none(); };
  const int64_t by = given(step) ? bound(step) : 1;
  if (by == 0) fail_value("slice step cannot be zero");
  const int64_t low = by > 0 ? 0 : -1, high = by > 0 ? n : n - 1;
  const auto clamp = [&](int64_t i) { return i < 0 ? std::max(i + n, low) : std::min(i, high); };
  const int64_t from = given(start) ? clamp(bound(start)) : (by > 0 ? low : high);
  const int64_t to = given(stop) ? clamp(bound(stop)) : (by > 0 ? high : low);
  size_t count = 0;
  if (by > 0 && from < to) count = static_cast<size_t>((to - from - 1) / by) + 1;
  if (by < 0 && from > to) {
    const auto stride = by == INT64_MIN ? uint64_t{1} << 63 : static_cast<uint64_t>(-by);
    count = static_cast<size_t>(static_cast<uint64_t>(from - to - 1) / stride) + 1;
  }
  return {from, by, count};
}

/// Byte offsets by character number, without a table where the text is ASCII.
class CharacterOffsets {
 public:
  explicit CharacterOffsets(const std::string& s) : ascii_(is_ascii(s)), bytes_(s.size()) {
    if (!ascii_) offsets_ = code_point_offsets(s);
  }
  int64_t count() const { return static_cast<int64_t>(ascii_ ? bytes_ : offsets_.size() - 1); }
  size_t operator()(int64_t i) const { return ascii_ ? static_cast<size_t>(i) : offsets_[static_cast<size_t>(i)]; }

 private:
  bool ascii_;
  size_t bytes_;
  std::vector<size_t> offsets_;
};

Value slice_text(const MarkedText& text, const Value* start, const Value* stop, const Value* step) {
  const CharacterOffsets at(text.bytes());
  const auto [from, by, count] = slice_bounds(at.count(), start, stop, step);
  if (count == 0) return MarkedText();
  if (by == 1) return text.slice(at(from), at(from + static_cast<int64_t>(count)) - at(from));
  MarkedText out;
  int64_t i = from;
  for (size_t k = 0; k < count; ++k, i += k < count ? by : 0) out.append(text, at(i), at(i + 1) - at(i));
  return out;
}

}  // namespace

Value get_attribute(const Value& value, const std::string& name) {
  value.defined();
  bool found = false;
  Value attribute = python_attribute(value, name, found);
  if (found) return attribute;
  if (value.is_dict())
    if (const Value* item = value.dict().find(std::string_view(name))) return *item;
  return missing_attribute(value, name);
}

Value get_item(const Value& value, const Value& key, Budget& budget) {
  value.defined();
  if (value.is_dict())
    if (const Value* item = value.dict().find(key)) return *item;
  if (key.is_integral() && (value.is_text() || value.is_list() || value.is_tuple() ||
                            (value.is_sequence() && value.sequence().form == Sequence::Form::range))) {
    int64_t i = key.integer();
    if (value.is_text()) {
      budget.read(value.text().size());
      const CharacterOffsets at(value.str());
      if (i < 0) i += at.count();
      if (i >= 0 && i < at.count()) return value.text().slice(at(i), at(i + 1) - at(i));
    } else {
      const auto n = static_cast<int64_t>(value.sequence().items.size());
      if (i < 0) i += n;
      if (i >= 0 && i < n) return value.sequence().items[static_cast<size_t>(i)];
    }
  }
  if (key.is_text()) {
    bool found = false;
    Value attribute = python_attribute(value, key.str(), found);
    return found ? attribute : missing_attribute(value, key.str());
  }
  return Value::undefined(fmt::format("{} has no element {}", described(value), repr(key, budget).bytes()));
}

Value get_slice(const Value& value, const Value* start, const Value* stop, const Value* step, Budget& budget) {
  value.defined();
  if (value.is_text()) {
    budget.allocate(value.text().size());
    return slice_text(value.text(), start, stop, step);
  }
  const bool range = value.is_sequence() && value.sequence().form == Sequence::Form::range;
  if (!value.is_list() && !value.is_tuple() && !range)
    return Value::undefined(fmt::format("{} has no such slice", described(value)));
  const auto& items = value.sequence().items;
  const auto [from, by, count] = slice_bounds(static_cast<int64_t>(items.size()), start, stop, step);
  budget.allocate(count * sizeof(Value));
  std::vector<Value> out;
  out.reserve(count);
  int64_t i = from;
  for (size_t k = 0; k < count; ++k, i += k < count ? by : 0) out.push_back(items[static_cast<size_t>(i)]);
  return make_sequence(range ? Sequence::Form::list : value.sequence().form, std::move(out));
}

SequencePtr iterate(const Value& value, Budget& budget) {
  if (value.is_list() || value.is_tuple() || value.is_sequence()) return value.sequence_ptr();
  std::vector<Value> items;
  if (value.is_undefined()) return make_list({}).sequence_ptr();
  if (value.is_text()) {
    const auto offsets = code_point_offsets(value.str());
    budget.allocate(offsets.size() * (sizeof(Value) + sizeof(MarkedText)));
    for (size_t i = 0; i + 1 < offsets.size(); ++i)
      items.emplace_back(value.text().slice(offsets[i], offsets[i + 1] - offsets[i]));
  } else if (value.is_dict()) {
    budget.allocate(value.dict().size() * sizeof(Value));
    for (const auto& [key, item] : value.dict().entries()) items.push_back(key);
  } else if (value.is_generator()) {
    auto& generator = value.generator();
    budget.allocate((generator.items.size() - generator.next) * sizeof(Value));
    items.assign(generator.items.begin() + static_cast<std::ptrdiff_t>(generator.next), generator.items.end());
    generator.next = generator.items.size();
  } else {
    fail_type(fmt::format("'{}' object is not iterable", value.type_name()));
  }
  return make_list(std::move(items)).sequence_ptr();
}

int64_t length(const Value& value, Budget& budget) {
  if (value.is_undefined()) return 0;
  if (value.is_text()) {
    budget.read(value.text().size());
    return static_cast<int64_t>(code_point_count(value.str()));
  }
  if (value.is_sequence()) return static_cast<int64_t>(value.sequence().items.size());
  if (value.is_dict()) return static_cast<int64_t>(value.dict().size());
  fail_type(fmt::format("object of type '{}' has no len()", value.type_name()));
}

}  // namespace sluice::jinja
