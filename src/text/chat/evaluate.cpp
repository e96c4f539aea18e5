#include "text/chat/interpreter.h"
#include "text/chat/operators.h"

namespace sluice::jinja {

Value Interpreter::eval(const Expr* expr) {
  const Budget::Depth depth(runtime_.budget);
  runtime_.budget.step();
  line_ = expr->line;
  return std::visit([this](const auto& node) { return eval(node); }, expr->node);
}

std::vector<Value> Interpreter::eval_all(const Exprs& exprs) {
  runtime_.budget.allocate(exprs.size() * sizeof(Value));
  std::vector<Value> values;
  values.reserve(exprs.size());
  for (const Expr* expr : exprs) values.push_back(eval(expr));
  return values;
}

Arguments Interpreter::eval_args(const CallArgs& args) {
  Arguments out;
  out.positional = eval_all(args.positional);
  for (const auto& [name, expr] : args.named) out.named.emplace_back(name, eval(expr));
  if (args.star != nullptr) {
    const auto more = iterate(eval(args.star), runtime_.budget);
    runtime_.budget.allocate(more->items.size() * sizeof(Value));
    out.positional.insert(out.positional.end(), more->items.begin(), more->items.end());
  }
  if (args.star_star != nullptr) {
    const Value more = eval(args.star_star);
    more.defined();
    if (!more.is_dict())
      fail_type(fmt::format("argument after ** must be a mapping, not {}", more.type_name()));
    runtime_.budget.allocate(more.dict().size() * sizeof(Dict::Entry));
    for (const auto& [key, value] : more.dict().entries()) {
      if (!key.is_text()) fail_type("keywords must be strings");
      for (const auto& [name, given] : out.named)
        if (name == key.str()) fail_type(fmt::format("got multiple values for keyword argument '{}'", name));
      runtime_.budget.step(out.named.size());
      out.named.emplace_back(key.str(), value);
    }
  }
  return out;
}

Value Interpreter::eval(const NameExpr& e) {
  if (const Value* value = frame_->find(e.name)) return *value;
  for (const auto& function : global_functions())
    if (function.name == e.name) return make_function(function);
  return Value::undefined(fmt::format("'{}' is undefined", e.name));
}

Value Interpreter::eval(const DictExpr& e) {
  runtime_.budget.allocate(e.items.size() * sizeof(Dict::Entry));
  Dict dict;
  for (const auto& [key, value] : e.items) {
    Value k = eval(key);
    dict.set(std::move(k), eval(value));
  }
  return make_dict(std::move(dict));
}

Value Interpreter::eval(const BinaryExpr& e) {
  const Value left = eval(e.left);
  const Value right = eval(e.right);
  return arithmetic(e.op, left, right, runtime_.budget);
}

Value Interpreter::eval(const LogicExpr& e) {
  Value left = eval(e.left);
  return left.truthy() == e.is_and ? eval(e.right) : left;
}

Value Interpreter::eval(const CompareExpr& e) {
  Value left = eval(e.first);
  for (const auto& [op, operand] : e.rest) {
    Value right = eval(operand);
    if (!compare(op, left, right, runtime_.budget)) return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::eval(const ConcatExpr& e) {
  MarkedText out;
  for (const Expr* part : e.parts) {
    const Value value = eval(part);
    const MarkedText text = to_text(value, runtime_.budget);
    out.append(text);
  }
  runtime_.budget.allocate(out.size());
  return out;
}

Value Interpreter::eval(const ConditionalExpr& e) {
  const int line = line_;
  if (eval(e.condition).truthy()) return eval(e.yes);
  if (e.no != nullptr) return eval(e.no);
  return Value::undefined(fmt::format(
      "the inline if-expression on line {} evaluated to false and no else section was defined.", line));
}

Value Interpreter::eval(const AttributeExpr& e) { return get_attribute(eval(e.object), e.name); }

Value Interpreter::eval(const ItemExpr& e) {
  const Value object = eval(e.object);
  return get_item(object, eval(e.key), runtime_.budget);
}

Value Interpreter::eval(const SliceExpr& e) {
  const Value object = eval(e.object);
  const auto bound = [&](const Expr* expr) { return expr != nullptr ? eval(expr) : Value(); };
  const Value start = bound(e.start), stop = bound(e.stop), step = bound(e.step);
  return get_slice(object, &start, &stop, &step, runtime_.budget);
}

Value Interpreter::eval(const CallExpr& e) {
  const int line = line_;
  const Value callee = eval(e.callee);
  const Arguments args = eval_args(e.args);
  line_ = line;
  return call_value(runtime_, callee, args);
}

Value Interpreter::eval(const FilterExpr& e) {
  const int line = line_;
  const Value input = eval(e.input);
  const Arguments args = eval_args(e.args);
  line_ = line;
  return apply_filter(runtime_, e.name, input, args);
}

Value Interpreter::eval(const TestExpr& e) {
  const Value input = eval(e.input);
  return apply_test(runtime_, e.name, input, eval_args(e.args)) != e.negated;
}

}  // namespace sluice::jinja
