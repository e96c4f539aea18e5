#pragma once
// A value of the template language: Python's, as far as templates can see them. Strings carry their provenance
// (marked_text.h). Lists, tuples and dicts never change once made, as the immutable sandbox demands, and are shared.

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "text/chat/marked_text.h"

namespace sluice::jinja {

class Value;
class Dict;
class Object;
class Runtime;
struct Sequence;
struct Generator;

struct None {
  bool operator==(const None&) const { return true; }
};

/// jinja2's Undefined: empty when printed or iterated, an error (`kind`, `message`) when used otherwise.
struct Undefined {
  std::string message;
  const char* kind = "UndefinedError";
};

using TextPtr = std::shared_ptr<const MarkedText>;
using SequencePtr = std::shared_ptr<const Sequence>;
using DictPtr = std::shared_ptr<const Dict>;
using GeneratorPtr = std::shared_ptr<Generator>;
using ObjectPtr = std::shared_ptr<Object>;
using UndefinedPtr = std::shared_ptr<const Undefined>;

class Value {
 public:
  using Storage = std::variant<None, UndefinedPtr, bool, int64_t, double, TextPtr, SequencePtr, DictPtr, GeneratorPtr,
                               ObjectPtr>;

  Value() = default;  // none
  Value(bool b) : v_(b) {}
  Value(int64_t i) : v_(i) {}
  Value(int i) : v_(int64_t{i}) {}
  Value(double d) : v_(d) {}
  Value(MarkedText text) : v_(std::make_shared<const MarkedText>(std::move(text))) {}
  Value(SequencePtr s) : v_(std::move(s)) {}
  Value(DictPtr d) : v_(std::move(d)) {}
  Value(GeneratorPtr g) : v_(std::move(g)) {}
  Value(ObjectPtr o) : v_(std::move(o)) {}
  Value(const char*) = delete;

  /// Text of the template's or our own.
  static Value literal(std::string s) { return Value(MarkedText(std::move(s), true)); }
  static Value undefined(std::string message, const char* kind = "UndefinedError");

  bool is_none() const { return std::holds_alternative<None>(v_); }
  bool is_undefined() const { return std::holds_alternative<UndefinedPtr>(v_); }
  bool is_bool() const { return std::holds_alternative<bool>(v_); }
  bool is_int() const { return std::holds_alternative<int64_t>(v_); }  // a bool is not
  bool is_double() const { return std::holds_alternative<double>(v_); }
  bool is_number() const { return is_int() || is_double() || is_bool(); }
  bool is_integral() const { return is_int() || is_bool(); }
  bool is_text() const { return std::holds_alternative<TextPtr>(v_); }
  bool is_sequence() const { return std::holds_alternative<SequencePtr>(v_); }
  bool is_list() const;
  bool is_tuple() const;
  bool is_dict() const { return std::holds_alternative<DictPtr>(v_); }
  bool is_generator() const { return std::holds_alternative<GeneratorPtr>(v_); }
  bool is_object() const { return std::holds_alternative<ObjectPtr>(v_); }

  bool boolean() const { return std::get<bool>(v_); }
  int64_t integer() const { return is_bool() ? int64_t{boolean()} : std::get<int64_t>(v_); }
  double real() const { return is_double() ? std::get<double>(v_) : static_cast<double>(integer()); }
  const MarkedText& text() const { return *std::get<TextPtr>(v_); }
  const std::string& str() const { return text().bytes(); }
  const Sequence& sequence() const { return *std::get<SequencePtr>(v_); }
  const SequencePtr& sequence_ptr() const { return std::get<SequencePtr>(v_); }
  const Dict& dict() const { return *std::get<DictPtr>(v_); }
  Generator& generator() const { return *std::get<GeneratorPtr>(v_); }
  const ObjectPtr& object() const { return std::get<ObjectPtr>(v_); }
  const Undefined& undefined() const { return *std::get<UndefinedPtr>(v_); }
  const Storage& storage() const { return v_; }

  /// Python's type name: "str", "dict", "Undefined", ...
  std::string type_name() const;
  bool truthy() const;
  /// How deep containers nest below here (0 for a scalar). Bounded, so that recursion over values is.
  int depth() const;
  /// Raises the undefined's error where this is one.
  const Value& defined() const;

 private:
  Storage v_;
};

/// list, tuple and what iterates like them: range objects and the three dict views.
struct Sequence {
  enum class Form : uint8_t { list, tuple, range, keys, values, items };
  Form form = Form::list;
  std::vector<Value> items;
  std::string repr;  // of a range
  int depth = 1;
};

/// A one-pass iterator, as map, select and their like return. Made eagerly, consumed once.
struct Generator {
  const char* type = "generator";
  std::vector<Value> items;
  size_t next = 0;
  int depth = 1;
};

/// An insertion-ordered dict with keys that are scalars, strings or flat tuples.
class Dict {
 public:
  using Entry = std::pair<Value, Value>;

  /// The value at `key`, or null. Unhashable keys are nowhere.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  /// Sets or replaces; raises TypeError on an unhashable key.
  void set(Value key, Value value);
  const std::vector<Entry>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  int depth() const { return depth_; }

 private:
  std::vector<Entry> entries_;
  std::unordered_multimap<size_t, size_t> index_;  // hash of the key -> position; only in dicts above a few entries
  int depth_ = 1;
};

using NamedValues = std::vector<std::pair<std::string, Value>>;

struct Arguments {
  std::vector<Value> positional;
  NamedValues named;
};

/// Anything with behaviour: functions, bound methods, macros, namespaces, `loop`, joiners and cyclers.
class Object {
 public:
  virtual ~Object() = default;
  virtual std::string type_name() const = 0;
  /// An attribute; sets `found` to false where there is none.
  virtual Value attribute(const std::string& name, bool& found) { (void)name; found = false; return {}; }
  virtual bool callable() const { return false; }
  virtual Value call(Runtime&, const Arguments&);
  virtual std::string repr() const;
  virtual int depth() const { return 0; }
  /// Lets go of values that may lead back here; called once rendering is over.
  virtual void release() {}
};

inline constexpr int kMaxValueDepth = 200;

Value make_list(std::vector<Value> items);
Value make_tuple(std::vector<Value> items);
Value make_sequence(Sequence::Form form, std::vector<Value> items);
Value make_generator(std::vector<Value> items, const char* type = "generator");
Value make_dict(Dict dict);

}  // namespace sluice::jinja
