#pragma once
// The stateful objects that a template can hold: namespace(), loop, cycler() and joiner().

#include <optional>
#include <unordered_map>

#include "text/chat/runtime.h"

namespace sluice::jinja {

class Namespace final : public Object {
 public:
  std::string type_name() const override { return "jinja2.utils.Namespace"; }
  Value attribute(const std::string& name, bool& found) override;
  void release() override { attributes_.clear(); }
  void set(const std::string& name, Value value) { attributes_[name] = std::move(value); }

 private:
  std::unordered_map<std::string, Value> attributes_;
};

/// `loop` inside a for.
class Loop final : public Object, public std::enable_shared_from_this<Loop> {
 public:
  Loop(SequencePtr items, int64_t depth0) : items_(std::move(items)), depth0_(depth0) {}

  std::string type_name() const override { return "jinja2.runtime.LoopContext"; }
  Value attribute(const std::string& name, bool& found) override;
  bool callable() const override { return recursion_ != nullptr; }
  Value call(Runtime& runtime, const Arguments& args) override;
  int depth() const override { return items_->depth + 1; }
  void release() override { changed_.reset(); }

  void move_to(size_t index) { index_ = index; }
  /// What `loop(items)` runs in a recursive for; it is taken away when the loop ends.
  class Recursion {
   public:
    virtual ~Recursion() = default;
    virtual Value run(const Value& items, int64_t depth0) = 0;
  };
  void set_recursion(Recursion* recursion) { recursion_ = recursion; }

 private:
  Value cycle(const Arguments& args) const;
  Value changed(Runtime& runtime, const Arguments& args);

  SequencePtr items_;
  int64_t depth0_;
  size_t index_ = 0;
  std::optional<std::vector<Value>> changed_;
  Recursion* recursion_ = nullptr;
};

}  // namespace sluice::jinja
