#include "text/chat/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "text/chat/printf_format.h"
#include "text/chat/unicode.h"

namespace sluice::jinja {
namespace {

[[noreturn]] void fail_operands(const char* symbol, const Value& a, const Value& b) {
  fail_type(fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", symbol, a.type_name(), b.type_name()));
}

[[noreturn]] void fail_overflow() { fail_unsupported("an integer beyond 64 bits"); }

const char* symbol_of(BinaryOp op) {
  switch (op) {
    case BinaryOp::add: return "+";
    case BinaryOp::sub: return "-";
    case BinaryOp::mul: return "*";
    case BinaryOp::div: return "/";
    case BinaryOp::floor_div: return "//";
    case BinaryOp::mod: return "%";
    case BinaryOp::pow: return "** or pow()";
  }
  return "?";
}

int64_t floor_div(int64_t a, int64_t b) {
  if (b == -1 && a == std::numeric_limits<int64_t>::min()) fail_overflow();
  const int64_t q = a / b;
  return q - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
}

Value int_power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) fail("ZeroDivisionError", "0.0 cannot be raised to a negative power");
    return std::pow(static_cast<double>(base), static_cast<double>(exponent));
  }
  int64_t result = 1;
  bool overflow = false;  // of the square that only a further bit would use
  for (; exponent > 0; exponent >>= 1) {
    if (overflow) fail_overflow();
    if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) fail_overflow();
    overflow = __builtin_mul_overflow(base, base, &base);
  }
  return result;
}

Value int_arithmetic(BinaryOp op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
    case BinaryOp::add:
      if (__builtin_add_overflow(a, b, &result)) fail_overflow();
      return result;
    case BinaryOp::sub:
      if (__builtin_sub_overflow(a, b, &result)) fail_overflow();
      return result;
    case BinaryOp::mul:
      if (__builtin_mul_overflow(a, b, &result)) fail_overflow();
      return result;
    case BinaryOp::div:
      if (b == 0) fail("ZeroDivisionError", "division by zero");
      return static_cast<double>(a) / static_cast<double>(b);
    case BinaryOp::floor_div:
      if (b == 0) fail("ZeroDivisionError", "integer division or modulo by zero");
      return floor_div(a, b);
    case BinaryOp::mod:
      if (b == 0) fail("ZeroDivisionError", "integer modulo by zero");
      return b == -1 ? Value(0) : Value(a - floor_div(a, b) * b);
    case BinaryOp::pow: return int_power(a, b);
  }
  return {};
}

double float_mod(double a, double b) {
  const double m = std::fmod(a, b);
  if (m == 0) return std::copysign(0.0, b);
  return (m < 0) != (b < 0) ? m + b : m;
}

double finite_power(double a, double b) {
  const double result = std::pow(a, b);
  if (std::isinf(result) && std::isfinite(a) && std::isfinite(b))
    fail("OverflowError", "(34, 'Numerical result out of range')");
  return result;
}

Value float_arithmetic(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::add: return a + b;
    case BinaryOp::sub: return a - b;
    case BinaryOp::mul: return a * b;
    case BinaryOp::div:
      if (b == 0) fail("ZeroDivisionError", "float division by zero");
      return a / b;
    case BinaryOp::floor_div: {
      if (b == 0) fail("ZeroDivisionError", "float floor division by zero");
      const double quotient = std::round((a - float_mod(a, b)) / b);
      return quotient == 0 ? std::copysign(0.0, a / b) : quotient;
    }
    case BinaryOp::mod:
      if (b == 0) fail("ZeroDivisionError", "float modulo");
      return float_mod(a, b);
    case BinaryOp::pow:
      if (a == 0 && b < 0) fail("ZeroDivisionError", "0.0 cannot be raised to a negative power");
      if (a < 0 && b != std::floor(b)) fail_unsupported("a complex number");
      return finite_power(a, b);
  }
  return {};
}

/// text * n, list * n.
Value repeat(const Value& value, int64_t times, Budget& budget) {
  const auto n = static_cast<uint64_t>(std::max<int64_t>(times, 0));
  const uint64_t unit = value.is_text() ? value.text().size() : value.sequence().items.size() * sizeof(Value);
  if (unit > 0 && n > budget.limits().max_alloc_bytes / unit)
    fail_limit(fmt::format("a repetition of more than {} bytes (max_alloc_bytes)", budget.limits().max_alloc_bytes));
  budget.allocate(unit * n);
  if (unit == 0) return value;
  if (value.is_text()) {
    MarkedText out;
    out.reserve(unit * n);
    for (uint64_t i = 0; i < n; ++i) out.append(value.text());
    return out;
  }
  std::vector<Value> items;
  items.reserve(value.sequence().items.size() * n);
  for (uint64_t i = 0; i < n; ++i)
    items.insert(items.end(), value.sequence().items.begin(), value.sequence().items.end());
  return make_sequence(value.sequence().form, std::move(items));
}

Value add_containers(const Value& a, const Value& b, Budget& budget) {
  if (a.is_text()) {
    if (!b.is_text()) fail_type(fmt::format("can only concatenate str (not \"{}\") to str", b.type_name()));
    budget.allocate(a.text().size() + b.text().size());
    MarkedText out;
    out.reserve(a.text().size() + b.text().size());
    out.append(a.text());
    out.append(b.text());
    return out;
  }
  if ((a.is_list() && b.is_list()) || (a.is_tuple() && b.is_tuple())) {
    auto items = a.sequence().items;
    items.insert(items.end(), b.sequence().items.begin(), b.sequence().items.end());
    budget.allocate(items.size() * sizeof(Value));
    return make_sequence(a.sequence().form, std::move(items));
  }
  if (a.is_list() || a.is_tuple())
    fail_type(fmt::format("can only concatenate {0} (not \"{1}\") to {0}", a.type_name(), b.type_name()));
  fail_operands("+", a, b);
}

bool is_repeatable(const Value& v) { return v.is_text() || v.is_list() || v.is_tuple(); }

bool sequences_equal(const std::vector<Value>& a, const std::vector<Value>& b, Budget& budget) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](const Value& x, const Value& y) { return equals(x, y, budget); });
}

bool dicts_equal(const Dict& a, const Dict& b, Budget& budget) {
  if (a.size() != b.size()) return false;
  return std::all_of(a.entries().begin(), a.entries().end(), [&](const Dict::Entry& entry) {
    const Value* other = b.find(entry.first);
    return other != nullptr && equals(entry.second, *other, budget);
  });
}

/// Raises TypeError where Python has no order between the two.
void check_order(const Value& a, const Value& b, const char* symbol) {
  a.defined();
  b.defined();
  if ((a.is_number() && b.is_number()) || (a.is_text() && b.is_text()) || (a.is_list() && b.is_list()) ||
      (a.is_tuple() && b.is_tuple()))
    return;
  fail_type(fmt::format("'{}' not supported between instances of '{}' and '{}'", symbol, a.type_name(),
                        b.type_name()));
}

}  // namespace

bool equals(const Value& a, const Value& b, Budget& budget) {
  budget.step();
  if (a.is_integral() && b.is_integral()) return a.integer() == b.integer();
  if (a.is_number() && b.is_number()) return a.real() == b.real();
  if (a.storage().index() != b.storage().index()) return false;
  if (a.is_none() || a.is_undefined()) return true;
  if (a.is_text()) {
    budget.read(std::min(a.text().size(), b.text().size()));
    return a.str() == b.str();
  }
  const Budget::Depth depth(budget);
  if (a.is_sequence())
    return a.sequence().form == b.sequence().form && sequences_equal(a.sequence().items, b.sequence().items, budget);
  if (a.is_dict()) return dicts_equal(a.dict(), b.dict(), budget);
  return a.storage() == b.storage();
}

bool less(const Value& a, const Value& b, Budget& budget, const char* symbol) {
  budget.step();
  check_order(a, b, symbol);
  if (a.is_integral() && b.is_integral()) return a.integer() < b.integer();
  if (a.is_number() && b.is_number()) return a.real() < b.real();
  if (a.is_text() && b.is_text()) {
    budget.read(std::min(a.text().size(), b.text().size()));
    return a.str() < b.str();  // bytes of UTF-8 order as code points do
  }
  const Budget::Depth depth(budget);
  const auto &x = a.sequence().items, &y = b.sequence().items;
  for (size_t i = 0; i < std::min(x.size(), y.size()); ++i)
    if (!equals(x[i], y[i], budget)) return less(x[i], y[i], budget, symbol);
  return x.size() < y.size();
}

bool contains(const Value& container, const Value& item, Budget& budget) {
  if (container.is_text()) {
    if (!item.is_text())
      fail_type(fmt::format("'in <string>' requires string as left operand, not {}", item.type_name()));
    budget.read(container.text().size());
    return find_bytes(container.str(), item.str(), 0) != std::string::npos;
  }
  if (container.is_dict()) {
    if (item.is_list() || item.is_dict()) fail_type(fmt::format("unhashable type: '{}'", item.type_name()));
    return container.dict().find(item) != nullptr;
  }
  if (container.is_undefined()) return false;
  if (!container.is_sequence() && !container.is_generator() && !container.is_object())
    fail_type(fmt::format("argument of type '{}' is not iterable", container.type_name()));
  const auto items = iterate(container, budget);
  return std::any_of(items->items.begin(), items->items.end(),
                     [&](const Value& v) { return equals(v, item, budget); });
}

bool compare(CompareOp op, const Value& a, const Value& b, Budget& budget) {
  switch (op) {
    case CompareOp::eq: return equals(a, b, budget);
    case CompareOp::ne: return !equals(a, b, budget);
    case CompareOp::lt: return less(a, b, budget);
    case CompareOp::gt: return check_order(a, b, ">"), less(b, a, budget, ">");
    case CompareOp::le: return less(a, b, budget, "<=") || equals(a, b, budget);
    case CompareOp::ge: return check_order(a, b, ">="), less(b, a, budget, ">=") || equals(a, b, budget);
    case CompareOp::in: return contains(b, a, budget);
    case CompareOp::not_in: return !contains(b, a, budget);
  }
  return false;
}

Value arithmetic(BinaryOp op, const Value& a, const Value& b, Budget& budget) {
  budget.step();
  a.defined();
  if (op == BinaryOp::mod && a.is_text()) return printf_format(a.text(), b, budget);
  b.defined();
  if (a.is_integral() && b.is_integral()) return int_arithmetic(op, a.integer(), b.integer());
  if (a.is_number() && b.is_number()) return float_arithmetic(op, a.real(), b.real());
  if (op == BinaryOp::add) return add_containers(a, b, budget);
  if (op == BinaryOp::mul) {
    if (is_repeatable(a) && b.is_integral()) return repeat(a, b.integer(), budget);
    if (is_repeatable(b) && a.is_integral()) return repeat(b, a.integer(), budget);
    if (is_repeatable(a) || is_repeatable(b))
      fail_type(fmt::format("can't multiply sequence by non-int of type '{}'",
                            is_repeatable(a) ? b.type_name() : a.type_name()));
  }
  fail_operands(symbol_of(op), a, b);
}

Value negate(const Value& a, bool minus) {
  a.defined();
  if (a.is_double()) return minus ? -a.real() : a.real();
  if (!a.is_integral())
    fail_type(fmt::format("bad operand type for unary {}: '{}'", minus ? "-" : "+", a.type_name()));
  if (minus && a.integer() == std::numeric_limits<int64_t>::min()) fail_overflow();
  return minus ? -a.integer() : a.integer();
}

}  // namespace sluice::jinja
