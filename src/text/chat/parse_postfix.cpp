// What follows a primary expression: attributes, subscripts, calls, filters and tests.
#include "text/chat/parser.h"

namespace sluice::jinja {

const Expr* ExpressionParser::postfix(const Expr* expr) {
  while (true) {
    if (at_op(".") || at_op("[")) {
      expr = subscript(expr);
    } else if (at_op("(")) {
      const int line = current().line;
      CallArgs args = call_args();
      expr = make(CallExpr{expr, args}, line, {expr}, {}, &args);
    } else {
      return expr;
    }
  }
}

const Expr* ExpressionParser::filters_and_tests(const Expr* expr) {
  while (true) {
    const int line = current().line;
    if (skip_op("|")) {
      const std::string name = dotted_name();
      CallArgs args = at_op("(") ? call_args() : CallArgs{};
      expr = make(FilterExpr{expr, name, args}, line, {expr}, {}, &args);
    } else if (skip_name("is")) {
      expr = test(expr);
    } else if (at_op("(")) {
      CallArgs args = call_args();
      expr = make(CallExpr{expr, args}, line, {expr}, {}, &args);
    } else {
      return expr;
    }
  }
}

std::string ExpressionParser::dotted_name() {
  std::string name = expect_identifier();
  while (skip_op(".")) name.append(1, '.').append(expect_identifier());
  return name;
}

std::vector<AppliedFilter> ExpressionParser::filter_chain() {
  std::vector<AppliedFilter> filters;
  do {
    std::string name = dotted_name();
    filters.push_back({std::move(name), at_op("(") ? call_args() : CallArgs{}});
  } while (skip_op("|"));
  return filters;
}

const Expr* ExpressionParser::test(const Expr* input) {
  const int line = current().line;
  const bool negated = skip_name("not");
  const std::string name = dotted_name();
  CallArgs args;
  const bool argument_follows = current().kind == TokenKind::name || current().kind == TokenKind::string ||
                                current().kind == TokenKind::integer || current().kind == TokenKind::real ||
                                at_op("[") || at_op("{");
  if (at_op("(")) {
    args = call_args();
  } else if (argument_follows && !at_name("else") && !at_name("or") && !at_name("and")) {
    if (at_name("is")) fail_syntax("You cannot chain multiple tests with is", line);
    args.positional.push_back(postfix(primary()));
  }
  return make(TestExpr{input, name, args, negated}, line, {input}, {}, &args);
}

const Expr* ExpressionParser::subscript(const Expr* object) {
  const int line = current().line;
  if (skip_op(".")) {
    if (current().kind == TokenKind::name) return make(AttributeExpr{object, next().text}, line, {object});
    if (current().kind != TokenKind::integer) fail_expected("a name or a number");
    const Expr* key = literal_number();
    return make(ItemExpr{object, key}, line, {object, key});
  }
  expect_op("[");
  const Expr* result = subscript_part(object);
  expect_op("]");
  return result;
}

const Expr* ExpressionParser::subscript_part(const Expr* object) {
  const int line = current().line;
  const Expr* first = at_op(":") ? nullptr : expression();
  if (at_op(",")) {
    Exprs items = {first};
    while (skip_op(",")) {
      if (at_op("]")) break;
      items.push_back(expression());
    }
    const Expr* key = make(TupleExpr{items}, line, {}, items);
    return make(ItemExpr{object, key}, line, {object, key});
  }
  if (!skip_op(":")) return make(ItemExpr{object, first}, line, {object, first});
  const auto bound = [&]() -> const Expr* { return at_op(":") || at_op("]") ? nullptr : expression(); };
  const Expr* stop = bound();
  const Expr* step = skip_op(":") ? bound() : nullptr;
  return make(SliceExpr{object, first, stop, step}, line, {object, first, stop, step});
}

CallArgs ExpressionParser::call_args() {
  const Nesting nesting(*this);
  const int line = current().line;
  expect_op("(");
  CallArgs args;
  bool any = false;
  while (!at_op(")")) {
    if (any) {
      expect_op(",");
      if (at_op(")")) break;
    }
    any = true;
    const bool closed = args.star != nullptr || args.star_star != nullptr;
    if (skip_op("*")) {
      if (closed) fail_syntax("invalid syntax for function call expression", line);
      args.star = expression();
    } else if (skip_op("**")) {
      if (args.star_star != nullptr) fail_syntax("invalid syntax for function call expression", line);
      args.star_star = expression();
    } else if (current().kind == TokenKind::name && peek().kind == TokenKind::op && peek().text == "=") {
      if (args.star_star != nullptr) fail_syntax("invalid syntax for function call expression", line);
      std::string name = next().text;
      next();
      for (const auto& [other, value] : args.named)
        if (other == name) fail_syntax(fmt::format("keyword argument repeated: {}", name), line);
      args.named.emplace_back(std::move(name), expression());
    } else {
      if (closed || !args.named.empty()) fail_syntax("invalid syntax for function call expression", line);
      args.positional.push_back(expression());
    }
  }
  expect_op(")");
  return args;
}

}  // namespace sluice::jinja
