// Filters that take a sequence as a whole: its length, ends, order and groups.
#include <algorithm>
#include <array>

#include "text/chat/operators.h"
#include "text/chat/runtime.h"
#include "text/chat/text_ops.h"
#include "text/chat/unicode.h"

namespace sluice::jinja {
namespace {

/// What a comparison looks at: the value at `path`, lower-cased unless case counts.
Value sort_key(Runtime& runtime, const Value& item, const Value* path, bool case_sensitive) {
  Value key = path != nullptr && !path->is_none() ? follow_path(runtime, item, *path) : item;
  return case_sensitive ? key : fold_case(runtime, key);
}

using Keyed = std::pair<Value, Value>;  // key, item

void sort_keyed(Runtime& runtime, std::vector<Keyed>& keyed, bool reverse) {
  // Python sorts stably, and in reverse keeps equal items in their first order.
  std::stable_sort(keyed.begin(), keyed.end(), [&](const Keyed& a, const Keyed& b) {
    return reverse ? less(b.first, a.first, runtime.budget) : less(a.first, b.first, runtime.budget);
  });
}

Value length_filter(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("length", args, {});
  return length(in, runtime.budget);
}

Value first(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("first", args, {});
  if (in.is_generator()) {
    auto& generator = in.generator();
    if (generator.next < generator.items.size()) return generator.items[generator.next++];
  } else if (const auto items = iterate(in, runtime.budget); !items->items.empty()) {
    return items->items.front();
  }
  return Value::undefined("No first item, sequence was empty.");
}

Value last(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("last", args, {});
  if (in.is_generator()) fail_type(fmt::format("'{}' object is not reversible", in.type_name()));
  const auto items = iterate(in, runtime.budget);
  if (items->items.empty()) return Value::undefined("No last item, sequence was empty.");
  return items->items.back();
}

/// One of the items: the same one of the same rendering, whose clock is the seed.
Value random(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("random", args, {});
  const int64_t n = length(in, runtime.budget);
  if (n == 0) return Value::undefined("No random item, sequence was empty.");
  const Value index = static_cast<int64_t>(runtime.random.below(static_cast<uint64_t>(n)));
  if (in.is_dict()) {  // its keys are looked up, as Python does
    const Value* value = in.dict().find(index);
    if (value == nullptr) fail("KeyError", std::to_string(index.integer()));
    return *value;
  }
  const Value item = get_item(in, index, runtime.budget);
  if (item.is_undefined()) fail_type(fmt::format("'{}' object is not subscriptable", in.type_name()));
  return item;
}

Value list(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("list", args, {});
  return make_list(iterate(in, runtime.budget)->items);
}

Value join_filter(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("join", args, {"d", "attribute"});
  const MarkedText separator = bound[0] != nullptr ? to_text(*bound[0], runtime.budget) : MarkedText();
  const auto items = iterate(in, runtime.budget);
  const bool by_path = bound[1] != nullptr && !bound[1]->is_none();
  std::vector<MarkedText> parts;
  parts.reserve(items->items.size());
  for (const auto& item : items->items)
    parts.push_back(to_text(by_path ? follow_path(runtime, item, *bound[1]) : item, runtime.budget));
  return join(separator, parts, runtime.budget);
}

Value sort(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("sort", args, {"reverse", "case_sensitive", "attribute"});
  const bool case_sensitive = bound.flag(1, false);
  const auto items = iterate(in, runtime.budget);
  std::vector<Keyed> keyed;
  for (const auto& item : items->items) {
    if (bound[2] != nullptr && bound[2]->is_text()) {  // "a,b": by a, then by b
      std::vector<Value> keys;
      const MarkedText comma(",", true);
      for (const auto& path : split(bound[2]->text(), &comma, -1, false, runtime.budget)) {
        const Value at(path);
        keys.push_back(sort_key(runtime, item, &at, case_sensitive));
      }
      keyed.emplace_back(make_list(std::move(keys)), item);
    } else {
      keyed.emplace_back(sort_key(runtime, item, bound[2], case_sensitive), item);
    }
  }
  sort_keyed(runtime, keyed, bound.flag(0, false));
  std::vector<Value> out;
  for (auto& [key, item] : keyed) out.push_back(std::move(item));
  return make_list(std::move(out));
}

Value dictsort(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("dictsort", args, {"case_sensitive", "by", "reverse"});
  const std::string by = bound.text(1) != nullptr ? bound.text(1)->bytes() : "key";
  if (by != "key" && by != "value")
    fail("FilterArgumentError", "You can only sort by either \"key\" or \"value\"");
  in.defined();
  if (!in.is_dict()) fail("UndefinedError", fmt::format("'{} object' has no attribute 'items'", in.type_name()));
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : in.dict().entries())
    keyed.emplace_back(sort_key(runtime, by == "key" ? key : value, nullptr, bound.flag(0, false)),
                       make_tuple({key, value}));
  sort_keyed(runtime, keyed, bound.flag(2, false));
  std::vector<Value> out;
  for (auto& [key, item] : keyed) out.push_back(std::move(item));
  return make_list(std::move(out));
}

Value unique(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("unique", args, {"case_sensitive", "attribute"});
  const auto items = iterate(in, runtime.budget);
  Dict seen;
  std::vector<Value> out;
  for (const auto& item : items->items) {
    runtime.budget.step();
    const Value key = sort_key(runtime, item, bound[1], bound.flag(0, false));
    if (seen.find(key) != nullptr) continue;
    seen.set(key, true);
    out.push_back(item);
  }
  return make_generator(std::move(out));
}

template <bool largest>
Value extreme(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("min", args, {"case_sensitive", "attribute"});
  const auto items = iterate(in, runtime.budget);
  if (items->items.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  const auto key = [&](const Value& item) { return sort_key(runtime, item, bound[1], bound.flag(0, false)); };
  Value best = items->items[0], best_key = key(best);
  for (size_t i = 1; i < items->items.size(); ++i) {
    const Value other = key(items->items[i]);
    other.defined();  // Python compares the newer one with the best, so that its error comes first
    if (largest ? less(best_key, other, runtime.budget, ">") : less(other, best_key, runtime.budget)) {
      best = items->items[i];
      best_key = other;
    }
  }
  return best;
}

Value sum(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("sum", args, {"attribute", "start"});
  const auto items = iterate(in, runtime.budget);
  Value total = bound[1] != nullptr ? *bound[1] : Value(0);
  if (total.is_text()) fail_type("sum() can't sum strings [use ''.join(seq) instead]");
  for (const auto& item : items->items) {
    const bool by_path = bound[0] != nullptr && !bound[0]->is_none();
    total = arithmetic(BinaryOp::add, total, by_path ? follow_path(runtime, item, *bound[0]) : item, runtime.budget);
  }
  return total;
}

Value reverse(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("reverse", args, {});
  if (in.is_text()) {
    const Value back(-1);
    return get_slice(in, nullptr, nullptr, &back, runtime.budget);
  }
  auto items = iterate(in, runtime.budget)->items;
  std::reverse(items.begin(), items.end());
  return make_generator(std::move(items), "list_reverseiterator");
}

Value batch(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("batch", args, {"linecount", "fill_with"});
  bound.required(0);
  const int64_t size = bound.integer(0, 1);
  const auto items = iterate(in, runtime.budget);
  const bool filled = bound[1] != nullptr && !bound[1]->is_none();
  std::vector<Value> out, row;
  for (const auto& item : items->items) {
    if (static_cast<int64_t>(row.size()) == size) out.push_back(make_list(std::exchange(row, {})));
    row.push_back(item);
  }
  while (filled && !row.empty() && static_cast<int64_t>(row.size()) < size) {
    runtime.budget.allocate(sizeof(Value));
    row.push_back(*bound[1]);
  }
  if (!row.empty()) out.push_back(make_list(std::move(row)));
  return make_generator(std::move(out));
}

Value slice(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("slice", args, {"slices", "fill_with"});
  bound.required(0);
  const int64_t slices = bound.integer(0, 1);
  const auto items = iterate(in, runtime.budget);
  const auto n = static_cast<int64_t>(items->items.size());
  if (slices == 0) fail("ZeroDivisionError", "integer division or modulo by zero");
  const int64_t each = slices > 0 ? n / slices : 0, longer = slices > 0 ? n % slices : 0;
  const bool filled = bound[1] != nullptr && !bound[1]->is_none();
  std::vector<Value> out;
  auto at = items->items.begin();
  for (int64_t i = 0; i < slices; ++i) {
    runtime.budget.allocate(sizeof(Value) + sizeof(Sequence));
    std::vector<Value> row(at, at + (each + (i < longer ? 1 : 0)));
    at += static_cast<std::ptrdiff_t>(row.size());
    if (filled && i >= longer) row.push_back(*bound[1]);
    out.push_back(make_list(std::move(row)));
  }
  return make_generator(std::move(out));
}

Value items(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("items", args, {});
  if (in.is_undefined()) return make_generator({});
  if (!in.is_dict()) fail_type("Can only get item pairs from a mapping.");
  std::vector<Value> out;
  runtime.budget.allocate(in.dict().size() * 4 * sizeof(Value));
  for (const auto& [key, value] : in.dict().entries()) out.push_back(make_tuple({key, value}));
  return make_generator(std::move(out));
}

Value groupby(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("groupby", args, {"attribute", "default", "case_sensitive"});
  const bool case_sensitive = bound.flag(2, false);
  const auto source = iterate(in, runtime.budget);
  std::vector<Keyed> keyed;
  const auto value_of = [&](const Value& item) {
    return follow_path(runtime, item, bound.required(0), bound[1]);
  };
  for (const auto& item : source->items) {
    const Value value = value_of(item);
    keyed.emplace_back(case_sensitive ? value : fold_case(runtime, value), item);
  }
  sort_keyed(runtime, keyed, false);
  std::vector<Value> out;
  for (size_t i = 0; i < keyed.size();) {
    std::vector<Value> members;
    const size_t begin = i;
    for (; i < keyed.size() && equals(keyed[begin].first, keyed[i].first, runtime.budget); ++i)
      members.push_back(keyed[i].second);
    const Value grouper = value_of(members[0]);
    out.push_back(make_tuple({grouper, make_list(std::move(members))}));
  }
  return make_list(std::move(out));
}

constexpr std::array<NamedFunction, 18> kSequenceFilters = {{
    {"length", length_filter},
    {"count", length_filter},
    {"first", first},
    {"last", last},
    {"random", random},
    {"list", list},
    {"join", join_filter},
    {"sort", sort},
    {"dictsort", dictsort},
    {"unique", unique},
    {"min", extreme<false>},
    {"max", extreme<true>},
    {"sum", sum},
    {"reverse", reverse},
    {"batch", batch},
    {"slice", slice},
    {"items", items},
    {"groupby", groupby},
}};

}  // namespace

std::span<const NamedFunction> sequence_filters() { return kSequenceFilters; }

}  // namespace sluice::jinja
