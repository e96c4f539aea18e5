#pragma once
// What filters, tests, methods and functions are given besides their arguments, and the tables they stand in.

#include <span>

#include "base/rng.h"
#include "text/chat/budget.h"
#include "text/chat/value.h"

namespace sluice::jinja {

class Runtime {
 public:
  Runtime(const RenderLimits& limits, int64_t now_local_s)
      : budget(limits), now_local_s(now_local_s), random(static_cast<uint64_t>(now_local_s)) {}
  ~Runtime() {
    for (const auto& object : to_release) object->release();
  }
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  Budget budget;
  int64_t now_local_s;                // the injected wall clock: seconds since 1970, local time
  Rng random;                         // of the same clock the same numbers: a rendering can be repeated
  std::vector<ObjectPtr> to_release;  // objects that could hold each other in a circle
};

using Function = Value (*)(Runtime&, const Value& self, const Arguments&);
struct NamedFunction {
  std::string_view name;
  Function call;
};

using Predicate = bool (*)(Runtime&, const Value& self, const Arguments&);
struct NamedTest {
  std::string_view name;
  Predicate holds;
};

// One table per file; catalog.cpp joins them.
std::span<const NamedFunction> text_filters();
std::span<const NamedFunction> sequence_filters();
std::span<const NamedFunction> selection_filters();
std::span<const NamedFunction> markup_filters();
std::span<const NamedFunction> str_methods();
std::span<const NamedFunction> str_split_methods();
std::span<const NamedFunction> container_methods(const Value& self);
std::span<const NamedFunction> global_functions();
std::span<const NamedTest> tests();

/// The filter or test `name`; raises TemplateRuntimeError on an unknown one.
Value apply_filter(Runtime& runtime, const std::string& name, const Value& input, const Arguments& args);
bool apply_test(Runtime& runtime, const std::string& name, const Value& input, const Arguments& args);
Value call_value(Runtime& runtime, const Value& callee, const Arguments& args);
/// A global such as `range` as a value.
Value make_function(const NamedFunction& function);

/// Arguments bound to parameter names; raises TypeError on too many, unknown or doubly given ones.
class Bound {
 public:
  Bound(const char* function, const Arguments& args, std::initializer_list<std::string_view> parameters);

  /// Null where it was not given.
  const Value* operator[](size_t i) const { return values_[i]; }
  const Value& required(size_t i) const;
  bool flag(size_t i, bool otherwise) const { return values_[i] != nullptr ? values_[i]->truthy() : otherwise; }
  int64_t integer(size_t i, int64_t otherwise) const;
  /// Null where it is absent or None.
  const MarkedText* text(size_t i) const;

 private:
  const char* function_;
  std::vector<std::string_view> names_;
  std::vector<const Value*> values_;
};

/// json.dumps(value) with the marks of every string: the filter `tojson`.
Value to_json(Runtime& runtime, const Value& value, const Arguments& args);

// Filters with a file each.
Value pretty_print(Runtime& runtime, const Value& value, const Arguments& args);
Value urlize(Runtime& runtime, const Value& value, const Arguments& args);
Value word_wrap(Runtime& runtime, const Value& value, const Arguments& args);

/// A dotted path such as "function.name" or "0" followed through attributes and items.
Value follow_path(Runtime& runtime, const Value& value, const Value& path, const Value* otherwise = nullptr);
/// The sort key of a value where case does not count: text in lower case.
Value fold_case(Runtime& runtime, const Value& value);

}  // namespace sluice::jinja
