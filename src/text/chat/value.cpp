#include "text/chat/value.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "text/chat/template_error.h"

namespace sluice::jinja {
namespace {

constexpr size_t kIndexAbove = 8;

int depth_over(const std::vector<Value>& items) {
  int depth = 0;
  for (const auto& item : items) depth = std::max(depth, item.depth());
  if (depth >= kMaxValueDepth) fail_limit(fmt::format("values nested deeper than {}", kMaxValueDepth));
  return depth + 1;
}

bool hashable(const Value& key, int level = 0) {
  if (key.is_tuple() && level < 3) {
    const auto& items = key.sequence().items;
    return std::all_of(items.begin(), items.end(), [&](const Value& v) { return hashable(v, level + 1); });
  }
  return key.is_none() || key.is_number() || key.is_text() || key.is_undefined();
}

size_t hash_of(const Value& key) {
  if (key.is_text()) return std::hash<std::string_view>{}(key.str());
  if (key.is_number()) return std::hash<double>{}(key.real());
  size_t hash = 0x9e3779b9;
  if (key.is_sequence())
    for (const auto& item : key.sequence().items) hash = hash * 1000003 ^ hash_of(item);
  return hash;
}

bool same_key(const Value& a, const Value& b) {
  if (a.is_text() || b.is_text()) return a.is_text() && b.is_text() && a.str() == b.str();
  if (a.is_integral() && b.is_integral()) return a.integer() == b.integer();
  if (a.is_number() || b.is_number()) return a.is_number() && b.is_number() && a.real() == b.real();
  if (a.is_tuple() && b.is_tuple())
    return std::equal(a.sequence().items.begin(), a.sequence().items.end(), b.sequence().items.begin(),
                      b.sequence().items.end(), same_key);
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

}  // namespace

Value Value::undefined(std::string message, const char* kind) {
  Value value;
  value.v_ = std::make_shared<const Undefined>(Undefined{std::move(message), kind});
  return value;
}

bool Value::is_list() const { return is_sequence() && sequence().form == Sequence::Form::list; }
bool Value::is_tuple() const { return is_sequence() && sequence().form == Sequence::Form::tuple; }

std::string Value::type_name() const {
  if (is_none()) return "NoneType";
  if (is_undefined()) return "Undefined";
  if (is_bool()) return "bool";
  if (is_int()) return "int";
  if (is_double()) return "float";
  if (is_text()) return "str";
  if (is_dict()) return "dict";
  if (is_generator()) return generator().type;
  if (is_object()) return object()->type_name();
  switch (sequence().form) {
    case Sequence::Form::list: return "list";
    case Sequence::Form::tuple: return "tuple";
    case Sequence::Form::range: return "range";
    case Sequence::Form::keys: return "dict_keys";
    case Sequence::Form::values: return "dict_values";
    case Sequence::Form::items: return "dict_items";
  }
  return "object";
}

bool Value::truthy() const {
  if (is_none() || is_undefined()) return false;
  if (is_integral()) return integer() != 0;
  if (is_double()) return real() != 0.0;
  if (is_text()) return !text().empty();
  if (is_sequence()) return !sequence().items.empty();
  if (is_dict()) return dict().size() > 0;
  return true;
}

int Value::depth() const {
  if (is_sequence()) return sequence().depth;
  if (is_dict()) return dict().depth();
  if (is_generator()) return generator().depth;
  if (is_object()) return object()->depth();
  return 0;
}

const Value& Value::defined() const {
  if (is_undefined()) fail(undefined().kind, undefined().message);
  return *this;
}

const Value* Dict::find(const Value& key) const {
  if (!hashable(key)) return nullptr;
  if (index_.empty()) {
    for (const auto& [k, v] : entries_)
      if (same_key(k, key)) return &v;
    return nullptr;
  }
  const auto [first, last] = index_.equal_range(hash_of(key));
  for (auto it = first; it != last; ++it)
    if (same_key(entries_[it->second].first, key)) return &entries_[it->second].second;
  return nullptr;
}

const Value* Dict::find(std::string_view key) const { return find(Value::literal(std::string(key))); }

void Dict::set(Value key, Value value) {
  if (!hashable(key)) fail_type(fmt::format("unhashable type: '{}'", key.type_name()));
  if (value.depth() >= kMaxValueDepth) fail_limit(fmt::format("values nested deeper than {}", kMaxValueDepth));
  depth_ = std::max({depth_, value.depth() + 1, key.depth() + 1});
  if (const Value* old = find(key)) {
    const_cast<Value&>(*old) = std::move(value);
    return;
  }
  entries_.emplace_back(std::move(key), std::move(value));
  if (entries_.size() <= kIndexAbove) return;
  if (index_.empty())
    for (size_t i = 0; i + 1 < entries_.size(); ++i) index_.emplace(hash_of(entries_[i].first), i);
  index_.emplace(hash_of(entries_.back().first), entries_.size() - 1);
}

Value Object::call(Runtime&, const Arguments&) { fail_type(fmt::format("'{}' object is not callable", type_name())); }

std::string Object::repr() const { return fmt::format("<{} object>", type_name()); }

Value make_sequence(Sequence::Form form, std::vector<Value> items) {
  const int depth = depth_over(items);
  return Value(std::make_shared<const Sequence>(Sequence{form, std::move(items), {}, depth}));
}
Value make_list(std::vector<Value> items) { return make_sequence(Sequence::Form::list, std::move(items)); }
Value make_tuple(std::vector<Value> items) { return make_sequence(Sequence::Form::tuple, std::move(items)); }

Value make_generator(std::vector<Value> items, const char* type) {
  const int depth = depth_over(items);
  return Value(std::make_shared<Generator>(Generator{type, std::move(items), 0, depth}));
}

Value make_dict(Dict dict) { return Value(std::make_shared<const Dict>(std::move(dict))); }

}  // namespace sluice::jinja
