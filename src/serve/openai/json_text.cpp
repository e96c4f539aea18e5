#include "serve/openai/json_text.h"

#include <nlohmann/json.hpp>
#include <unordered_set>

namespace sluice {

namespace {

/// Builds the value itself: the library's builder searches an ordered object at every key, which is quadratic.
class StrictBuilder final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return refuse("binary values are not JSON"); }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    if (!open_.back().keys.insert(name).second)
      return refuse(fmt::format("the key {} appears twice in one object", describe_json(Json(name))));
    open_.back().key = std::move(name);
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& e) override {
    std::string_view what = e.what();
    if (const size_t end = what.find("] "); what.starts_with("[json.exception") && end != std::string_view::npos)
      what.remove_prefix(end + 2);
    return refuse(std::string(what));
  }

  Json root;
  std::string problem;

 private:
  struct Open {
    Json* value;
    std::unordered_set<std::string> keys;
    std::string key;
  };
  bool refuse(std::string why) {
    problem = std::move(why);
    return false;
  }
  Json* place(Json value) {
    if (open_.empty()) {
      root = std::move(value);
      return &root;
    }
    Open& parent = open_.back();
    if (parent.value->is_array()) {
      parent.value->push_back(std::move(value));
      return &parent.value->back();
    }
    auto& members = parent.value->get_ref<Json::object_t&>();
    members.Container::emplace_back(std::move(parent.key), std::move(value));
    return &members.back().second;
  }
  bool add(Json value) {
    if (++values_ > kMaxJsonValues) return refuse(fmt::format("more than {} values", kMaxJsonValues));
    place(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (++values_ > kMaxJsonValues) return refuse(fmt::format("more than {} values", kMaxJsonValues));
    if (open_.size() >= static_cast<size_t>(kMaxJsonDepth))
      return refuse(fmt::format("nested deeper than {} levels", kMaxJsonDepth));
    // The address stays good: a container's elements do not move while one of them is open.
    open_.push_back({place(std::move(value)), {}, {}});
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::vector<Open> open_;
  size_t values_ = 0;
};

}  // namespace

Result<Json> parse_json(std::string_view text) {
  StrictBuilder builder;
  try {
    if (Json::sax_parse(text.begin(), text.end(), &builder)) return std::move(builder.root);
  } catch (const std::exception& e) {
    builder.problem = e.what();
  }
  return invalid_argument("the body is not valid JSON: " + builder.problem);
}

Result<Json> parse_json_object(std::string_view text) {
  SLUICE_TRY(Json body, parse_json(text));
  if (!body.is_object())
    return invalid_argument(fmt::format("the body is {}; it must be an object", describe_json(body)));
  return body;
}

std::string dump_json(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string describe_json(const Json& value) {
  if (value.is_array()) return fmt::format("an array of {}", value.size());
  if (value.is_object()) return fmt::format("an object with {} fields", value.size());
  if (value.is_null()) return "null";
  std::string text = dump_json(value);
  constexpr size_t kShown = 80;
  if (text.size() > kShown) {
    size_t cut = kShown;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xc0) == 0x80) --cut;
    text = text.substr(0, cut) + "...";
  }
  const char* type = value.is_string() ? "a string" : value.is_boolean() ? "a boolean" : "a number";
  return fmt::format("{} ({})", text, type);
}

}  // namespace sluice
