// The tables of filters, tests, methods and functions, and the calls that go through them.
#include <algorithm>
#include <array>

#include "text/chat/operators.h"
#include "text/chat/runtime.h"

namespace sluice::jinja {
namespace {

template <class Table>
auto find_in(const Table& table, std::string_view name) -> decltype(table.data()) {
  const auto it = std::find_if(table.begin(), table.end(), [&](const auto& entry) { return entry.name == name; });
  return it == table.end() ? nullptr : &*it;
}

class BoundMethod final : public Object {
 public:
  BoundMethod(Value self, const NamedFunction& method) : self_(std::move(self)), method_(method) {}
  std::string type_name() const override { return "builtin_function_or_method"; }
  bool callable() const override { return true; }
  Value call(Runtime& runtime, const Arguments& args) override { return method_.call(runtime, self_, args); }
  std::string repr() const override {
    return fmt::format("<built-in method {} of {} object>", method_.name, self_.type_name());
  }
  int depth() const override { return self_.depth() + 1; }

 private:
  Value self_;
  NamedFunction method_;
};

class GlobalFunction final : public Object {
 public:
  explicit GlobalFunction(const NamedFunction& function) : function_(function) {}
  std::string type_name() const override { return "function"; }
  bool callable() const override { return true; }
  Value call(Runtime& runtime, const Arguments& args) override { return function_.call(runtime, {}, args); }
  std::string repr() const override { return fmt::format("<function {}>", function_.name); }

 private:
  NamedFunction function_;
};

size_t bytes_of(const Value& value) {
  if (value.is_text()) return value.text().size();
  if (value.is_sequence()) return value.sequence().items.size() * sizeof(Value);
  return value.is_generator() ? value.generator().items.size() * sizeof(Value) : 0;
}

}  // namespace

Value apply_filter(Runtime& runtime, const std::string& name, const Value& input, const Arguments& args) {
  for (const auto table : {text_filters(), sequence_filters(), selection_filters(), markup_filters()}) {
    if (const auto* filter = find_in(table, name)) {
      const Budget::Depth depth(runtime.budget);
      runtime.budget.read(bytes_of(input));
      Value result = filter->call(runtime, input, args);
      runtime.budget.allocate(bytes_of(result));
      return result;
    }
  }
  fail("TemplateRuntimeError", fmt::format("No filter named '{}'.", name));
}

bool apply_test(Runtime& runtime, const std::string& name, const Value& input, const Arguments& args) {
  const auto* test = find_in(tests(), name);
  if (test == nullptr) fail("TemplateRuntimeError", fmt::format("No test named '{}'.", name));
  runtime.budget.step();
  return test->holds(runtime, input, args);
}

Value find_method(const Value& self, const std::string& name, bool& found) {
  const NamedFunction* method = nullptr;
  if (self.is_text()) {
    method = find_in(str_methods(), name);
    if (method == nullptr) method = find_in(str_split_methods(), name);
  } else {
    method = find_in(container_methods(self), name);
  }
  found = method != nullptr;
  return found ? Value(std::make_shared<BoundMethod>(self, *method)) : Value();
}

Value call_value(Runtime& runtime, const Value& callee, const Arguments& args) {
  callee.defined();
  if (!callee.is_object()) fail_type(fmt::format("'{}' object is not callable", callee.type_name()));
  const Budget::Depth depth(runtime.budget);
  runtime.budget.step();
  Value result = callee.object()->call(runtime, args);
  runtime.budget.allocate(bytes_of(result));
  return result;
}

Value make_function(const NamedFunction& function) { return Value(std::make_shared<GlobalFunction>(function)); }

Bound::Bound(const char* function, const Arguments& args, std::initializer_list<std::string_view> parameters)
    : function_(function), names_(parameters), values_(parameters.size(), nullptr) {
  if (args.positional.size() > names_.size())
    fail_type(
        fmt::format("{}() takes at most {} arguments ({} given)", function, names_.size(), args.positional.size()));
  for (size_t i = 0; i < args.positional.size(); ++i) values_[i] = &args.positional[i];
  for (const auto& [name, value] : args.named) {
    const auto it = std::find(names_.begin(), names_.end(), name);
    if (it == names_.end()) fail_type(fmt::format("{}() got an unexpected keyword argument '{}'", function, name));
    const auto i = static_cast<size_t>(it - names_.begin());
    if (values_[i] != nullptr) fail_type(fmt::format("{}() got multiple values for argument '{}'", function, name));
    values_[i] = &value;
  }
}

const Value& Bound::required(size_t i) const {
  if (values_[i] == nullptr)
    fail_type(fmt::format("{}() missing 1 required positional argument: '{}'", function_, names_[i]));
  return *values_[i];
}

int64_t Bound::integer(size_t i, int64_t otherwise) const {
  if (values_[i] == nullptr) return otherwise;
  values_[i]->defined();
  if (!values_[i]->is_integral())
    fail_type(fmt::format("'{}' object cannot be interpreted as an integer", values_[i]->type_name()));
  return values_[i]->integer();
}

const MarkedText* Bound::text(size_t i) const {
  if (values_[i] == nullptr || values_[i]->is_none()) return nullptr;
  if (!values_[i]->is_text())
    fail_type(fmt::format("{}() argument '{}' must be str, not {}", function_, names_[i], values_[i]->type_name()));
  return &values_[i]->text();
}

}  // namespace sluice::jinja
