#include "weights/json_walk.h"

#include <nlohmann/json.hpp>
#include <vector>

namespace sluice {
namespace {

constexpr size_t kMostLevels = 16;

class Walker : public nlohmann::json_sax<nlohmann::json> {
 public:
  Walker(const std::string& origin, const std::function<Status(std::span<const JsonStep>, JsonLeaf&)>& leaf)
      : origin_(origin), leaf_(leaf) {}

  bool null() override { return emit(JsonNull{}); }
  bool boolean(bool value) override { return emit(value); }
  bool number_integer(int64_t value) override { return emit(value); }
  bool number_unsigned(uint64_t value) override {
    if (value > static_cast<uint64_t>(INT64_MAX)) return emit(static_cast<double>(value));
    return emit(static_cast<int64_t>(value));
  }
  bool number_float(double value, const std::string&) override { return emit(value); }
  bool string(std::string& value) override { return emit(std::move(value)); }
  bool binary(nlohmann::json::binary_t&) override { return false; }

  bool start_object(size_t) override { return open({}); }
  bool key(std::string& key) override {
    path_.back() = {std::move(key), -1};
    ++children_.back();
    return true;
  }
  bool end_object() override { return close(); }
  bool start_array(size_t) override {
    if (path_.empty()) {
      status_ = corrupt_data(origin_ + ": the JSON text must be an object");
      return false;
    }
    return open({{}, -1}, true);
  }
  bool end_array() override { return close(); }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& error) override {
    // The library repeats its own class name and number in front of the reason; only the reason is for users.
    std::string reason = error.what();
    if (const auto at = reason.find("] "); at != std::string::npos) reason.erase(0, at + 2);
    if (reason.size() > 300) reason.resize(300);
    status_ = corrupt_data(fmt::format("{}: byte {}: invalid JSON: {}", origin_, position, reason));
    return false;
  }

  Status take_status() { return std::move(status_); }

 private:
  bool open(JsonStep step, bool array = false) {
    if (!path_.empty()) next_element();
    if (path_.size() >= kMostLevels) {
      status_ =
          corrupt_data(fmt::format("{}: \"{}\" nests deeper than {} levels", origin_, json_path(path_), kMostLevels));
      return false;
    }
    path_.push_back(std::move(step));
    arrays_.push_back(array);
    children_.push_back(0);
    return true;
  }
  bool close() {
    const bool empty = children_.back() == 0;
    path_.pop_back();
    arrays_.pop_back();
    children_.pop_back();
    if (!empty || path_.empty()) return true;
    JsonLeaf leaf = JsonEmpty{};
    status_ = leaf_(path_, leaf);
    return status_.ok();
  }
  void next_element() {
    if (!arrays_.back()) return;
    ++path_.back().index;
    ++children_.back();
  }
  bool emit(JsonLeaf leaf) {
    if (path_.empty()) {
      status_ = corrupt_data(origin_ + ": the JSON text must be an object");
      return false;
    }
    next_element();
    status_ = leaf_(path_, leaf);
    return status_.ok();
  }

  const std::string& origin_;
  const std::function<Status(std::span<const JsonStep>, JsonLeaf&)>& leaf_;
  std::vector<JsonStep> path_;     // one per open container: where in it we are
  std::vector<bool> arrays_;       // is that container an array
  std::vector<size_t> children_;   // seen in it so far
  Status status_;
};

}  // namespace

Status walk_json(std::string_view text, const std::string& origin,
                 const std::function<Status(std::span<const JsonStep>, JsonLeaf&)>& leaf) {
  Walker walker(origin, leaf);
  try {
    if (nlohmann::json::sax_parse(text.begin(), text.end(), &walker)) return {};
  } catch (const std::exception& e) {  // numbers out of range and the like
    return corrupt_data(fmt::format("{}: invalid JSON: {}", origin, e.what()));
  }
  Status status = walker.take_status();
  return status.ok() ? Status(corrupt_data(origin + ": invalid JSON")) : status;
}

std::string json_path(std::span<const JsonStep> path) {
  std::string text;
  for (const auto& step : path) {
    if (!text.empty()) text += '.';
    text += step.index >= 0 ? std::to_string(step.index) : step.key;
  }
  return text;
}

}  // namespace sluice
