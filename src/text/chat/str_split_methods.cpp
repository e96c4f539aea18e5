#include <array>

#include "text/chat/operators.h"
#include "text/chat/runtime.h"
#include "text/chat/text_ops.h"
#include "text/chat/unicode.h"

namespace sluice::jinja {
namespace {

template <bool from_right>
Value split_method(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound(from_right ? "rsplit" : "split", args, {"sep", "maxsplit"});
  return list_of(split(self.text(), bound.text(0), bound.integer(1, -1), from_right, runtime.budget), runtime.budget);
}

Value splitlines(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("splitlines", args, {"keepends"});
  return list_of(split_lines(self.text(), bound.flag(0, false), runtime.budget), runtime.budget);
}

template <bool from_right>
Value partition(Runtime& runtime, const Value& self, const Arguments& args) {
  const Bound bound("partition", args, {"sep"});
  bound.required(0);
  const MarkedText* separator = bound.text(0);
  if (separator == nullptr) fail_type("must be str, not NoneType");
  if (separator->empty()) fail_value("empty separator");
  const MarkedText& text = self.text();
  runtime.budget.allocate(text.size());
  const size_t at = from_right ? find_last(text.bytes(), separator->bytes(), text.size(), runtime.budget)
                               : find_bytes(text.bytes(), separator->bytes(), 0);
  const Value empty = MarkedText();
  if (at == std::string::npos)
    return from_right ? make_tuple({empty, empty, self}) : make_tuple({self, empty, empty});
  const size_t after = at + separator->size();
  return make_tuple({text.slice(0, at), text.slice(at, separator->size()), text.slice(after, text.size() - after)});
}

constexpr std::array<NamedFunction, 5> kSplitMethods = {{
    {"split", split_method<false>},
    {"rsplit", split_method<true>},
    {"splitlines", splitlines},
    {"partition", partition<false>},
    {"rpartition", partition<true>},
}};

}  // namespace

std::span<const NamedFunction> str_split_methods() { return kSplitMethods; }

}  // namespace sluice::jinja
