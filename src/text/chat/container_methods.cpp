#include <algorithm>
#include <array>

#include "text/chat/operators.h"
#include "text/chat/runtime.h"

namespace sluice::jinja {
namespace {

Value dict_view(Runtime& runtime, const Value& self, Sequence::Form form) {
  const auto& entries = self.dict().entries();
  runtime.budget.allocate(entries.size() * sizeof(Value) * (form == Sequence::Form::items ? 4 : 1));
  std::vector<Value> items;
  items.reserve(entries.size());
  for (const auto& [key, value] : entries) {
    if (form == Sequence::Form::keys) items.push_back(key);
    if (form == Sequence::Form::values) items.push_back(value);
    if (form == Sequence::Form::items) items.push_back(make_tuple({key, value}));
  }
  return make_sequence(form, std::move(items));
}

template <Sequence::Form form>
Value view(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("view", args, {});
  return dict_view(runtime, self, form);
}

Value get(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("get", args, {"key", "default"});
  runtime.budget.step();
  const Value& key = bound.required(0);
  if (key.is_list() || key.is_dict()) fail_type(fmt::format("unhashable type: '{}'", key.type_name()));
  if (const Value* value = self.dict().find(key)) return *value;
  return bound[1] != nullptr ? *bound[1] : Value();
}

Value copy(Runtime&, const Value& self, const Arguments& args) {
  const Bound bound("copy", args, {});
  return self;  // nothing can change it, so it is its own copy
}

Value count(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("count", args, {"value"});
  const auto& items = self.sequence().items;
  return static_cast<int64_t>(std::count_if(items.begin(), items.end(), [&](const Value& item) {
    return equals(item, bound.required(0), runtime.budget);
  }));
}

Value index(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("index", args, {"value", "start", "stop"});
  const auto& items = self.sequence().items;
  const auto n = static_cast<int64_t>(items.size());
  const auto place = [&](size_t i, int64_t otherwise) {
    const int64_t v = bound.integer(i, otherwise);
    return std::clamp<int64_t>(v < 0 ? v + n : v, 0, n);
  };
  for (int64_t i = place(1, 0); i < place(2, n); ++i)
    if (equals(items[static_cast<size_t>(i)], bound.required(0), runtime.budget)) return i;
  fail_value(fmt::format("{} is not in {}", repr(bound.required(0), runtime.budget).bytes(), self.type_name()));
}

constexpr std::array<NamedFunction, 5> kDictMethods = {{
    {"items", view<Sequence::Form::items>},
    {"keys", view<Sequence::Form::keys>},
    {"values", view<Sequence::Form::values>},
    {"get", get},
    {"copy", copy},
}};
constexpr std::array<NamedFunction, 3> kListMethods = {{{"index", index}, {"count", count}, {"copy", copy}}};

}  // namespace

std::span<const NamedFunction> container_methods(const Value& self) {
  if (self.is_dict()) return kDictMethods;
  if (self.is_list()) return kListMethods;
  if (self.is_tuple()) return std::span(kListMethods).first(2);
  return {};
}

}  // namespace sluice::jinja
