#include "text/chat/json_values.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace sluice::jinja {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 7> kKnownRoles = {"system", "user",    "assistant", "tool",
                                                         "developer", "ipython", "function"};

Value convert(const Json& json, Budget& budget, bool is_message) {
  budget.allocate(sizeof(Value));
  switch (json.type()) {
    case Json::value_t::null:
    case Json::value_t::discarded:
    case Json::value_t::binary: return {};
    case Json::value_t::boolean: return json.get<bool>();
    case Json::value_t::number_integer: return json.get<int64_t>();
    case Json::value_t::number_unsigned:
      if (json.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return static_cast<double>(json.get<uint64_t>());
      return json.get<int64_t>();
    case Json::value_t::number_float: return json.get<double>();
    case Json::value_t::string: {
      const auto& s = json.get_ref<const std::string&>();
      budget.allocate(s.size());
      return MarkedText(s, false);
    }
    case Json::value_t::array: {
      const Budget::Depth depth(budget);
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(convert(item, budget, false));
      return make_list(std::move(items));
    }
    case Json::value_t::object: {
      const Budget::Depth depth(budget);
      Dict dict;
      for (const auto& [key, item] : json.items()) {
        budget.allocate(key.size());
        Value value = convert(item, budget, false);
        if (is_message && key == "role" && value.is_text() &&
            std::find(kKnownRoles.begin(), kKnownRoles.end(), value.str()) != kKnownRoles.end())
          value = Value::literal(value.str());
        dict.set(MarkedText(key, false), std::move(value));
      }
      return make_dict(std::move(dict));
    }
  }
  return {};
}

}  // namespace

Value from_json(const Json& json, Budget& budget) { return convert(json, budget, false); }

Value messages_from_json(const Json& json, Budget& budget) {
  if (!json.is_array()) return from_json(json, budget);
  std::vector<Value> messages;
  messages.reserve(json.size());
  for (const auto& message : json) messages.push_back(convert(message, budget, true));
  return make_list(std::move(messages));
}

}  // namespace sluice::jinja
