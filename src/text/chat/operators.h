#pragma once
// Python's operators on values: equality, order, arithmetic, membership, subscripts, iteration, str() and repr().

#include "text/chat/budget.h"
#include "text/chat/value.h"

namespace sluice::jinja {

enum class BinaryOp : uint8_t { add, sub, mul, div, floor_div, mod, pow };
enum class CompareOp : uint8_t { eq, ne, lt, le, gt, ge, in, not_in };

bool equals(const Value& a, const Value& b, Budget& budget);
/// a < b; raises TypeError where Python has no order. `symbol` is the operator named in the message.
bool less(const Value& a, const Value& b, Budget& budget, const char* symbol = "<");
bool compare(CompareOp op, const Value& a, const Value& b, Budget& budget);
bool contains(const Value& container, const Value& item, Budget& budget);
Value arithmetic(BinaryOp op, const Value& a, const Value& b, Budget& budget);
Value negate(const Value& a, bool minus);

/// str(value), with the marks of every string in it.
MarkedText to_text(const Value& value, Budget& budget);
MarkedText repr(const Value& value, Budget& budget);
std::string repr_double(double d);
/// repr of a plain string (quotes and escapes as Python chooses them).
MarkedText repr_text(const MarkedText& text);

/// What `for x in value` sees. Consumes a generator. Raises TypeError where it cannot be iterated.
SequencePtr iterate(const Value& value, Budget& budget);
/// len(value); raises TypeError.
int64_t length(const Value& value, Budget& budget);

/// value.name: Python attributes (methods) first, then items; undefined where there is neither.
Value get_attribute(const Value& value, const std::string& name);
/// value[key]: items first, then attributes.
Value get_item(const Value& value, const Value& key, Budget& budget);
/// value[start:stop:step]; null pointers for the bounds left out.
Value get_slice(const Value& value, const Value* start, const Value* stop, const Value* step, Budget& budget);

/// A method of a str, list, tuple or dict bound to `self`; sets `found` to false where there is none.
Value find_method(const Value& self, const std::string& name, bool& found);

}  // namespace sluice::jinja
