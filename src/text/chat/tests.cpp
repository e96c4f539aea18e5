// What stands behind `is`.
#include <array>

#include "text/chat/operators.h"
#include "text/chat/runtime.h"
#include "text/chat/unicode.h"

namespace sluice::jinja {
namespace {

const Value& other(const Arguments& args) {
  if (args.positional.size() != 1 || !args.named.empty())
    fail_type(fmt::format("the test takes one argument, {} given", args.positional.size() + args.named.size()));
  return args.positional[0];
}

template <bool (*kind)(const Value&)>
bool has_kind(Runtime&, const Value& v, const Arguments& args) {
  if (!args.positional.empty() || !args.named.empty()) fail_type("the test takes no argument");
  return kind(v);
}

template <CompareOp op>
bool compares(Runtime& runtime, const Value& v, const Arguments& args) {
  return compare(op, v, other(args), runtime.budget);
}

int64_t remainder(Runtime& runtime, const Value& v, const Value& by) {
  const Value rest = arithmetic(BinaryOp::mod, v, by, runtime.budget);
  return rest.is_integral() ? rest.integer() : rest.is_double() && rest.real() == 0 ? 0 : -1;
}
bool even(Runtime& runtime, const Value& v, const Arguments&) { return remainder(runtime, v, 2) == 0; }
bool odd(Runtime& runtime, const Value& v, const Arguments&) {
  return equals(arithmetic(BinaryOp::mod, v, 2, runtime.budget), 1, runtime.budget);
}
bool divisible_by(Runtime& runtime, const Value& v, const Arguments& args) {
  return remainder(runtime, v, other(args)) == 0;
}

bool same_as(Runtime& runtime, const Value& v, const Arguments& args) {
  const Value& o = other(args);
  if (v.storage().index() != o.storage().index()) return false;
  if (v.is_none() || v.is_number() || v.is_text()) return equals(v, o, runtime.budget);
  return v.storage() == o.storage();
}

bool is_defined(const Value& v) { return !v.is_undefined(); }
bool is_undefined(const Value& v) { return v.is_undefined(); }
bool is_none(const Value& v) { return v.is_none(); }
bool is_boolean(const Value& v) { return v.is_bool(); }
bool is_true(const Value& v) { return v.is_bool() && v.boolean(); }
bool is_false(const Value& v) { return v.is_bool() && !v.boolean(); }
bool is_integer(const Value& v) { return v.is_int(); }
bool is_float(const Value& v) { return v.is_double(); }
bool is_number(const Value& v) { return v.is_number(); }
bool is_string(const Value& v) { return v.is_text(); }
bool is_mapping(const Value& v) { return v.is_dict(); }
bool is_iterable(const Value& v) {
  return v.is_undefined() || v.is_text() || v.is_sequence() || v.is_dict() || v.is_generator();
}
bool is_sequence(const Value& v) {
  if (v.is_undefined()) return true;  // it has a length and, if only to raise, an item
  const bool indexable = v.is_sequence() && v.sequence().form <= Sequence::Form::range;
  return v.is_text() || v.is_dict() || indexable;
}
bool is_callable(const Value& v) { return v.is_object() && v.object()->callable(); }
bool is_escaped(const Value&) { return false; }

/// str(v).isupper() or islower().
template <bool upper>
bool has_case(Runtime& runtime, const Value& v, const Arguments&) {
  const Value text = to_text(v, runtime.budget);
  bool found = false;
  return call_value(runtime, find_method(text, upper ? "isupper" : "islower", found), {}).truthy();
}

void check_hashable(const Value& v) {
  if (v.is_dict() || (v.is_sequence() && !v.is_tuple() && v.sequence().form != Sequence::Form::range))
    fail_type(fmt::format("unhashable type: '{}'", v.type_name()));
}
bool names_filter(Runtime&, const Value& v, const Arguments&) {
  check_hashable(v);
  for (const auto table : {text_filters(), sequence_filters(), selection_filters()})
    for (const auto& filter : table)
      if (v.is_text() && filter.name == v.str()) return true;
  return false;
}
bool names_test(Runtime&, const Value& v, const Arguments&) {
  check_hashable(v);
  for (const auto& test : tests())
    if (v.is_text() && test.name == v.str()) return true;
  return false;
}

constexpr std::array<NamedTest, 39> kTests = {{
    {"defined", has_kind<is_defined>},
    {"undefined", has_kind<is_undefined>},
    {"none", has_kind<is_none>},
    {"boolean", has_kind<is_boolean>},
    {"true", has_kind<is_true>},
    {"false", has_kind<is_false>},
    {"integer", has_kind<is_integer>},
    {"float", has_kind<is_float>},
    {"number", has_kind<is_number>},
    {"string", has_kind<is_string>},
    {"mapping", has_kind<is_mapping>},
    {"iterable", has_kind<is_iterable>},
    {"sequence", has_kind<is_sequence>},
    {"callable", has_kind<is_callable>},
    {"escaped", has_kind<is_escaped>},
    {"even", even},
    {"odd", odd},
    {"divisibleby", divisible_by},
    {"sameas", same_as},
    {"upper", has_case<true>},
    {"lower", has_case<false>},
    {"filter", names_filter},
    {"test", names_test},
    {"in", compares<CompareOp::in>},
    {"eq", compares<CompareOp::eq>},
    {"equalto", compares<CompareOp::eq>},
    {"==", compares<CompareOp::eq>},
    {"ne", compares<CompareOp::ne>},
    {"!=", compares<CompareOp::ne>},
    {"lt", compares<CompareOp::lt>},
    {"lessthan", compares<CompareOp::lt>},
    {"<", compares<CompareOp::lt>},
    {"le", compares<CompareOp::le>},
    {"<=", compares<CompareOp::le>},
    {"gt", compares<CompareOp::gt>},
    {"greaterthan", compares<CompareOp::gt>},
    {">", compares<CompareOp::gt>},
    {"ge", compares<CompareOp::ge>},
    {">=", compares<CompareOp::ge>},
}};

}  // namespace

std::span<const NamedTest> tests() { return kTests; }

}  // namespace sluice::jinja
