// Filters that pick from or map over a sequence by other filters, tests and attributes.
#include <array>
#include <charconv>

#include "text/chat/operators.h"
#include "text/chat/runtime.h"
#include "text/chat/text_ops.h"

namespace sluice::jinja {
namespace {

/// The arguments from the n-th positional one on, as another filter or test receives them.
Arguments rest_of(const Arguments& args, size_t n) {
  Arguments rest;
  rest.positional.assign(args.positional.begin() + static_cast<std::ptrdiff_t>(n), args.positional.end());
  rest.named = args.named;
  return rest;
}

const std::string& name_at(const Arguments& args, size_t i) {
  if (!args.positional[i].is_text()) fail_type("the name of a filter or test must be a string");
  return args.positional[i].str();
}

/// What select, map and their like go through: nothing where the input is false, whatever it is.
SequencePtr items_if_any(Runtime& runtime, const Value& in) {
  return in.truthy() ? iterate(in, runtime.budget) : make_list({}).sequence_ptr();
}

Value map(Runtime& runtime, const Value& in, const Arguments& args) {
  const auto items = items_if_any(runtime, in);
  std::vector<Value> out;
  out.reserve(items->items.size());
  if (!args.positional.empty()) {
    const std::string& name = name_at(args, 0);
    const Arguments rest = rest_of(args, 1);
    for (const auto& item : items->items) out.push_back(apply_filter(runtime, name, item, rest));
    return make_generator(std::move(out));
  }
  if (args.named.empty()) fail("FilterArgumentError", "map requires a filter argument");
  const Bound bound("map", args, {"attribute", "default"});
  for (const auto& item : items->items) {
    out.push_back(follow_path(runtime, item, bound.required(0), bound[1]));
  }
  return make_generator(std::move(out));
}

/// select, reject, selectattr and rejectattr: keeps the items whose test (or truth) equals `keep`.
template <bool keep, bool by_attribute>
Value filtered(Runtime& runtime, const Value& in, const Arguments& args) {
  const size_t first = by_attribute ? 1 : 0;
  if (args.positional.size() < first) fail("FilterArgumentError", "Missing parameter for attribute name");
  const bool tested = args.positional.size() > first;
  const Arguments rest = tested ? rest_of(args, first + 1) : Arguments{};
  const auto items = items_if_any(runtime, in);
  std::vector<Value> out;
  for (const auto& item : items->items) {
    runtime.budget.step();
    const Value value = by_attribute ? follow_path(runtime, item, args.positional[0]) : item;
    if ((tested ? apply_test(runtime, name_at(args, first), value, rest) : value.truthy()) == keep) out.push_back(item);
  }
  return make_generator(std::move(out));
}

Value otherwise(Runtime&, const Value& in, const Arguments& args) {
  const Bound bound("default", args, {"default_value", "boolean"});
  const bool absent = in.is_undefined() || (bound.flag(1, false) && !in.truthy());
  if (!absent) return in;
  return bound[0] != nullptr ? *bound[0] : Value(MarkedText());
}

Value attr(Runtime& runtime, const Value& in, const Arguments& args) {
  const Bound bound("attr", args, {"name"});
  const MarkedText name = to_text(bound.required(0), runtime.budget);
  in.defined();
  if (in.is_dict()) {  // attributes only, never items
    bool found = false;
    Value method = find_method(in, name.bytes(), found);
    if (found) return method;
    return Value::undefined(fmt::format("'dict object' has no attribute '{}'", name.bytes()));
  }
  return get_attribute(in, name.bytes());
}

constexpr std::array<NamedFunction, 8> kSelectionFilters = {{
    {"map", map},
    {"select", filtered<true, false>},
    {"reject", filtered<false, false>},
    {"selectattr", filtered<true, true>},
    {"rejectattr", filtered<false, true>},
    {"default", otherwise},
    {"d", otherwise},
    {"attr", attr},
}};

}  // namespace

std::span<const NamedFunction> selection_filters() { return kSelectionFilters; }

Value follow_path(Runtime& runtime, const Value& value, const Value& path, const Value* otherwise) {
  const bool replaced = otherwise != nullptr && !otherwise->is_none();
  const auto known = [&](const Value& v) { return replaced && v.is_undefined() ? *otherwise : v; };
  if (!path.is_text()) return known(get_item(value, path, runtime.budget));
  const MarkedText dot(".", true);
  Value at = value;
  for (const auto& part : split(path.text(), &dot, -1, false, runtime.budget)) {
    int64_t index = 0;
    const std::string& s = part.bytes();
    const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), index);
    const bool number = error == std::errc() && end == s.data() + s.size() && s[0] != '-';
    at = known(get_item(at, number ? Value(index) : Value(part), runtime.budget));
  }
  return at;
}

Value fold_case(Runtime& runtime, const Value& value) {
  return value.is_text() ? Value(change_case(value.text(), Case::lower, runtime.budget)) : value;
}

}  // namespace sluice::jinja
