#include "text/chat/objects.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <functional>

#include "text/chat/operators.h"

namespace sluice::jinja {
namespace {

/// A method of one of the objects here; the closure keeps the object alive.
class Method final : public Object {
 public:
  using Body = std::function<Value(Runtime&, const Arguments&)>;
  Method(Body body, int depth) : body_(std::move(body)), depth_(depth) {}
  std::string type_name() const override { return "method"; }
  bool callable() const override { return true; }
  Value call(Runtime& runtime, const Arguments& args) override { return body_(runtime, args); }
  int depth() const override { return depth_; }

 private:
  Body body_;
  int depth_;
};

Value make_method(Method::Body body, int self_depth) {
  if (self_depth >= kMaxValueDepth) fail_limit(fmt::format("values nested deeper than {}", kMaxValueDepth));
  return ObjectPtr(std::make_shared<Method>(std::move(body), self_depth + 1));
}

class Cycler final : public Object, public std::enable_shared_from_this<Cycler> {
 public:
  explicit Cycler(SequencePtr items) : items_(std::move(items)) {}
  std::string type_name() const override { return "Cycler"; }
  int depth() const override { return items_->depth + 1; }
  Value attribute(const std::string& name, bool& found) override {
    found = true;
    if (name == "current") return items_->items[position_];
    if (name == "next")
      return make_method([self = shared_from_this()](Runtime&, const Arguments&) {
        const Value value = self->items_->items[self->position_];
        self->position_ = (self->position_ + 1) % self->items_->items.size();
        return value;
      }, depth());
    if (name == "reset")
      return make_method([self = shared_from_this()](Runtime&, const Arguments&) {
        self->position_ = 0;
        return Value();
      }, depth());
    found = false;
    return {};
  }

 private:
  SequencePtr items_;
  size_t position_ = 0;
};

class Joiner final : public Object {
 public:
  explicit Joiner(Value separator) : separator_(std::move(separator)) {}
  std::string type_name() const override { return "Joiner"; }
  bool callable() const override { return true; }
  int depth() const override { return separator_.depth() + 1; }
  Value call(Runtime&, const Arguments&) override {
    if (used_) return separator_;
    used_ = true;
    return MarkedText();
  }

 private:
  Value separator_;
  bool used_ = false;
};

Value range(Runtime& runtime, const Value&, const Arguments& args) {
  const Bound bound("range", args, {"start", "stop", "step"});
  bound.required(0);
  const bool one = bound[1] == nullptr;
  const int64_t start = one ? 0 : bound.integer(0, 0), stop = bound.integer(one ? 0 : 1, 0), step = bound.integer(2, 1);
  if (step == 0) fail_value("range() arg 3 must not be zero");
  constexpr int64_t kMaxRange = 100000;  // the sandbox's
  const __int128 span = step > 0 ? static_cast<__int128>(stop) - start : static_cast<__int128>(start) - stop;
  const __int128 stride = step > 0 ? step : -static_cast<__int128>(step);
  const __int128 count = span <= 0 ? 0 : (span - 1) / stride + 1;
  if (count > kMaxRange)
    fail("OverflowError", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
  runtime.budget.allocate(static_cast<uint64_t>(count) * sizeof(Value));
  Sequence sequence;
  sequence.form = Sequence::Form::range;
  for (__int128 i = 0; i < count; ++i) sequence.items.emplace_back(static_cast<int64_t>(start + i * step));
  sequence.repr =
      step == 1 ? fmt::format("range({}, {})", start, stop) : fmt::format("range({}, {}, {})", start, stop, step);
  return SequencePtr(std::make_shared<const Sequence>(std::move(sequence)));
}

/// Entries of a dict or of a sequence of pairs, and then the keyword arguments.
template <class Set>
void collect(Runtime& runtime, const Arguments& args, Set set) {
  if (args.positional.size() > 1)
    fail_type(fmt::format("dict expected at most 1 argument, got {}", args.positional.size()));
  if (!args.positional.empty()) {
    const Value& source = args.positional[0];
    if (source.is_dict()) {
      for (const auto& [key, value] : source.dict().entries()) set(key, value);
    } else {
      for (const auto& item : iterate(source, runtime.budget)->items) {
        const auto pair = iterate(item, runtime.budget);
        if (pair->items.size() != 2)
          fail_value("dictionary update sequence element has the wrong length; 2 is required");
        set(pair->items[0], pair->items[1]);
      }
    }
  }
  for (const auto& [name, value] : args.named) set(Value::literal(name), value);
}

Value dict(Runtime& runtime, const Value&, const Arguments& args) {
  Dict out;
  collect(runtime, args, [&](const Value& key, const Value& value) {
    runtime.budget.allocate(sizeof(Dict::Entry));
    out.set(key, value);
  });
  return make_dict(std::move(out));
}

Value make_namespace(Runtime& runtime, const Value&, const Arguments& args) {
  auto out = std::make_shared<Namespace>();
  runtime.budget.allocate(sizeof(Namespace));
  runtime.to_release.push_back(out);
  collect(runtime, args, [&](const Value& key, const Value& value) {
    if (!key.is_text()) fail_type("a namespace has attributes with string names");
    out->set(key.str(), value);
  });
  return ObjectPtr(out);
}

Value cycler(Runtime&, const Value&, const Arguments& args) {
  if (args.positional.empty()) fail("RuntimeError", "at least one item has to be provided");
  return ObjectPtr(std::make_shared<Cycler>(make_list(args.positional).sequence_ptr()));
}

Value joiner(Runtime&, const Value&, const Arguments& args) {
  const Bound bound("joiner", args, {"sep"});
  return ObjectPtr(std::make_shared<Joiner>(bound[0] != nullptr ? *bound[0] : Value::literal(", ")));
}

Value raise_exception(Runtime& runtime, const Value&, const Arguments& args) {
  const Bound bound("raise_exception", args, {"message"});
  fail("TemplateError", to_text(bound.required(0), runtime.budget).bytes());
}

Value strftime_now(Runtime& runtime, const Value&, const Arguments& args) {
  const Bound bound("strftime_now", args, {"format"});
  bound.required(0);
  const MarkedText* format = bound.text(0);
  if (format == nullptr) fail_type("strftime() argument 1 must be str, not None");
  if (format->empty()) return MarkedText();
  if (format->size() > 256) fail_limit("a date format above 256 bytes");
  const std::time_t now = runtime.now_local_s;
  std::tm tm{};
  gmtime_r(&now, &tm);
  std::array<char, 16384> buffer{};
  const size_t n = std::strftime(buffer.data(), buffer.size(), format->bytes().c_str(), &tm);
  return MarkedText(std::string(buffer.data(), n), format->trusted());
}

constexpr std::array<NamedFunction, 7> kGlobals = {{
    {"range", range},
    {"dict", dict},
    {"namespace", make_namespace},
    {"cycler", cycler},
    {"joiner", joiner},
    {"raise_exception", raise_exception},
    {"strftime_now", strftime_now},
}};

}  // namespace

std::span<const NamedFunction> global_functions() { return kGlobals; }

Value Namespace::attribute(const std::string& name, bool& found) {
  const auto it = attributes_.find(name);
  found = it != attributes_.end();
  return found ? it->second : Value();
}

Value Loop::attribute(const std::string& name, bool& found) {
  found = true;
  const auto n = static_cast<int64_t>(items_->items.size()), i = static_cast<int64_t>(index_);
  if (name == "index0") return i;
  if (name == "index") return i + 1;
  if (name == "revindex0") return n - i - 1;
  if (name == "revindex") return n - i;
  if (name == "first") return i == 0;
  if (name == "last") return i + 1 == n;
  if (name == "length") return n;
  if (name == "depth0") return depth0_;
  if (name == "depth") return depth0_ + 1;
  if (name == "previtem") return i > 0 ? items_->items[index_ - 1] : Value::undefined("there is no previous item");
  if (name == "nextitem") return i + 1 < n ? items_->items[index_ + 1] : Value::undefined("there is no next item");
  if (name == "cycle")
    return make_method([self = shared_from_this()](Runtime&, const Arguments& args) { return self->cycle(args); },
                       depth());
  if (name == "changed")
    return make_method(
        [self = shared_from_this()](Runtime& runtime, const Arguments& args) { return self->changed(runtime, args); },
        depth());
  found = false;
  return {};
}

Value Loop::call(Runtime& runtime, const Arguments& args) {
  const Bound bound("loop", args, {"iterable"});
  (void)runtime;
  if (recursion_ == nullptr)
    fail_type("The loop must have the 'recursive' marker to be called recursively.");
  return recursion_->run(bound.required(0), depth0_ + 1);
}

Value Loop::cycle(const Arguments& args) const {
  if (args.positional.empty()) fail_type("no items for cycling given");
  return args.positional[index_ % args.positional.size()];
}

Value Loop::changed(Runtime& runtime, const Arguments& args) {
  const auto same = [&](const Value& a, const Value& b) { return equals(a, b, runtime.budget); };
  if (changed_ && std::equal(changed_->begin(), changed_->end(), args.positional.begin(), args.positional.end(), same))
    return false;
  if (!changed_) runtime.to_release.push_back(shared_from_this());
  changed_ = args.positional;
  return true;
}

}  // namespace sluice::jinja
