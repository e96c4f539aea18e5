#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "text/chat/parser.h"

namespace sluice::jinja {
namespace {

constexpr int kMaxTreeDepth = 200;  // of an expression
constexpr int kMaxNesting = 100;    // of brackets, blocks and prefix operators while parsing

}  // namespace

Token ParserBase::next() {
  Token token = tokens_[pos_];
  if (pos_ + 1 < tokens_.size()) ++pos_;
  return token;
}

bool ParserBase::skip_op(std::string_view op) { return at_op(op) && (next(), true); }
bool ParserBase::skip_name(std::string_view name) { return at_name(name) && (next(), true); }

void ParserBase::fail_expected(std::string_view what) const {
  static constexpr std::array<std::string_view, 11> kNames = {
      "template data", "begin of statement block", "end of statement block", "begin of print statement",
      "end of print statement", "name", "string", "integer", "float", "operator", "end of template"};
  const auto& token = current();
  const bool shown = token.kind == TokenKind::name || token.kind == TokenKind::op;
  fail_syntax(fmt::format("expected {}, got '{}'", what,
                          shown ? token.text : std::string(kNames[static_cast<size_t>(token.kind)])),
              token.line);
}

void ParserBase::expect_op(std::string_view op) {
  if (!skip_op(op)) fail_expected(fmt::format("'{}'", op));
}
void ParserBase::expect_name(std::string_view name) {
  if (!skip_name(name)) fail_expected(fmt::format("'{}'", name));
}
std::string ParserBase::expect_identifier() {
  if (current().kind != TokenKind::name) fail_expected("a name");
  return next().text;
}
void ParserBase::expect(TokenKind kind) {
  if (current().kind != kind)
    fail_expected(kind == TokenKind::block_end ? "end of statement block" : "end of print statement");
  next();
}

ParserBase::Nesting::Nesting(ParserBase& parser) : parser_(parser) {
  if (++parser_.nesting_ > kMaxNesting) {
    --parser_.nesting_;
    throw TemplateError{ErrorCode::resource_exhausted, "Limit", fmt::format("nested deeper than {}", kMaxNesting),
                        parser.current().line};
  }
}

const Expr* ExpressionParser::make(Expr::Node node, int line, std::initializer_list<const Expr*> children,
                                   const Exprs& more, const CallArgs* args) {
  int depth = 0;
  const auto see = [&](const Expr* child) {
    if (child != nullptr) depth = std::max(depth, child->depth);
  };
  for (const Expr* child : children) see(child);
  for (const Expr* child : more) see(child);
  if (args != nullptr) {
    for (const Expr* child : args->positional) see(child);
    for (const auto& [name, child] : args->named) see(child);
    see(args->star);
    see(args->star_star);
  }
  if (depth >= kMaxTreeDepth)
    throw TemplateError{ErrorCode::resource_exhausted, "Limit",
                        fmt::format("an expression nested deeper than {}", kMaxTreeDepth), line};
  ast_->exprs.push_back({std::move(node), line, depth + 1});
  return &ast_->exprs.back();
}

const Expr* ExpressionParser::expression() { return conditional(); }

const Expr* ExpressionParser::conditional() {
  const Nesting nesting(*this);
  const int line = current().line;
  const Expr* value = disjunction();
  while (skip_name("if")) {
    const Expr* condition = disjunction();
    const Expr* otherwise = skip_name("else") ? conditional() : nullptr;
    value = make(ConditionalExpr{condition, value, otherwise}, line, {condition, value, otherwise});
  }
  return value;
}

const Expr* ExpressionParser::disjunction() {
  const int line = current().line;
  const Expr* left = conjunction();
  while (skip_name("or")) {
    const Expr* right = conjunction();
    left = make(LogicExpr{false, left, right}, line, {left, right});
  }
  return left;
}

const Expr* ExpressionParser::conjunction() {
  const int line = current().line;
  const Expr* left = negation();
  while (skip_name("and")) {
    const Expr* right = negation();
    left = make(LogicExpr{true, left, right}, line, {left, right});
  }
  return left;
}

const Expr* ExpressionParser::negation() {
  if (!at_name("not")) return comparison();
  const Nesting nesting(*this);
  const int line = next().line;
  const Expr* operand = negation();
  return make(NotExpr{operand}, line, {operand});
}

const Expr* ExpressionParser::comparison() {
  static constexpr std::array<std::pair<std::string_view, CompareOp>, 6> kOps = {{{"==", CompareOp::eq},
                                                                                  {"!=", CompareOp::ne},
                                                                                  {"<", CompareOp::lt},
                                                                                  {"<=", CompareOp::le},
                                                                                  {">", CompareOp::gt},
                                                                                  {">=", CompareOp::ge}}};
  const int line = current().line;
  const Expr* first = sum();
  std::vector<std::pair<CompareOp, const Expr*>> rest;
  Exprs operands;
  while (true) {
    const auto op = std::find_if(kOps.begin(), kOps.end(), [&](const auto& o) { return at_op(o.first); });
    if (op != kOps.end()) {
      next();
      rest.emplace_back(op->second, sum());
    } else if (skip_name("in")) {
      rest.emplace_back(CompareOp::in, sum());
    } else if (at_name("not") && peek().kind == TokenKind::name && peek().text == "in") {
      next();
      next();
      rest.emplace_back(CompareOp::not_in, sum());
    } else {
      break;
    }
    operands.push_back(rest.back().second);
  }
  if (rest.empty()) return first;
  return make(CompareExpr{first, std::move(rest)}, line, {first}, operands);
}

const Expr* ExpressionParser::sum() {
  const int line = current().line;
  const Expr* left = concatenation();
  while (at_op("+") || at_op("-")) {
    const BinaryOp op = next().text == "+" ? BinaryOp::add : BinaryOp::sub;
    const Expr* right = concatenation();
    left = make(BinaryExpr{op, left, right}, line, {left, right});
  }
  return left;
}

const Expr* ExpressionParser::concatenation() {
  const int line = current().line;
  Exprs parts = {product()};
  while (skip_op("~")) parts.push_back(product());
  if (parts.size() == 1) return parts[0];
  return make(ConcatExpr{parts}, line, {}, parts);
}

const Expr* ExpressionParser::product() {
  const int line = current().line;
  const Expr* left = power();
  while (at_op("*") || at_op("/") || at_op("//") || at_op("%")) {
    const BinaryOp op = at_op("*")    ? BinaryOp::mul
                        : at_op("/")  ? BinaryOp::div
                        : at_op("//") ? BinaryOp::floor_div
                                      : BinaryOp::mod;
    next();
    const Expr* right = power();
    left = make(BinaryExpr{op, left, right}, line, {left, right});
  }
  return left;
}

const Expr* ExpressionParser::power() {
  const int line = current().line;
  const Expr* left = unary();
  while (skip_op("**")) {  // from the left, as jinja2 does and Python does not
    const Expr* right = unary();
    left = make(BinaryExpr{BinaryOp::pow, left, right}, line, {left, right});
  }
  return left;
}

const Expr* ExpressionParser::unary(bool with_filters) {
  const Nesting nesting(*this);
  const int line = current().line;
  const Expr* expr = nullptr;
  if (at_op("-") || at_op("+")) {
    const bool minus = next().text == "-";
    const Expr* operand = unary(false);
    expr = make(SignExpr{minus, operand}, line, {operand});
  } else {
    expr = primary();
  }
  expr = postfix(expr);
  return with_filters ? filters_and_tests(expr) : expr;
}

const Expr* ExpressionParser::literal_number() {
  const Token token = next();
  if (token.kind == TokenKind::real) return make(LiteralExpr{std::strtod(token.text.c_str(), nullptr)}, token.line, {});
  std::string_view digits = token.text;
  int base = 10;
  if (digits.size() > 2 && (digits[1] == 'x' || digits[1] == 'o' || digits[1] == 'b')) {
    base = digits[1] == 'x' ? 16 : digits[1] == 'o' ? 8 : 2;
    digits.remove_prefix(2);
  } else if (digits[0] == '0' && digits.find_first_not_of('0') != std::string_view::npos) {
    fail_syntax("a number with leading zeros", token.line);
  }
  int64_t value = 0;
  if (std::from_chars(digits.data(), digits.data() + digits.size(), value, base).ec != std::errc())
    throw TemplateError{ErrorCode::unsupported, "Unsupported", "an integer beyond 64 bits", token.line};
  return make(LiteralExpr{value}, token.line, {});
}

const Expr* ExpressionParser::primary() {
  const int line = current().line;
  switch (current().kind) {
    case TokenKind::name: {
      const std::string name = next().text;
      if (name == "true" || name == "True") return make(LiteralExpr{true}, line, {});
      if (name == "false" || name == "False") return make(LiteralExpr{false}, line, {});
      if (name == "none" || name == "None") return make(LiteralExpr{Value()}, line, {});
      saw_varargs_ |= name == "varargs";
      saw_kwargs_ |= name == "kwargs";
      saw_caller_ |= name == "caller";
      return make(NameExpr{name}, line, {});
    }
    case TokenKind::string: {
      std::string text = next().text;
      while (current().kind == TokenKind::string) text += next().text;
      return make(LiteralExpr{Value::literal(std::move(text))}, line, {});
    }
    case TokenKind::integer:
    case TokenKind::real: return literal_number();
    case TokenKind::op:
      if (skip_op("(")) {
        const Expr* inner = tuple(true, {}, true);
        expect_op(")");
        return inner;
      }
      if (at_op("[")) return list();
      if (at_op("{")) return dict();
      break;
    default: break;
  }
  fail_expected("an expression");
}

const Expr* ExpressionParser::tuple(bool with_conditional, std::string_view end_name, bool explicit_parentheses) {
  const int line = current().line;
  Exprs items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) {
      if (!skip_op(",")) break;
      is_tuple = true;
    }
    if (current().kind == TokenKind::variable_end || current().kind == TokenKind::block_end || at_op(")") ||
        (!end_name.empty() && at_name(end_name)))
      break;
    items.push_back(with_conditional ? expression() : disjunction());
  }
  if (!is_tuple && !items.empty()) return items[0];
  if (items.empty() && !explicit_parentheses) fail_expected("an expression");
  return make(TupleExpr{items}, line, {}, items);
}

const Expr* ExpressionParser::list() {
  const int line = next().line;
  Exprs items;
  while (!at_op("]")) {
    if (!items.empty()) expect_op(",");
    if (at_op("]")) break;
    items.push_back(expression());
  }
  expect_op("]");
  return make(ListExpr{items}, line, {}, items);
}

const Expr* ExpressionParser::dict() {
  const int line = next().line;
  std::vector<std::pair<const Expr*, const Expr*>> items;
  Exprs all;
  while (!at_op("}")) {
    if (!items.empty()) expect_op(",");
    if (at_op("}")) break;
    const Expr* key = expression();
    expect_op(":");
    const Expr* value = expression();
    items.emplace_back(key, value);
    all.push_back(key);
    all.push_back(value);
  }
  expect_op("}");
  return make(DictExpr{std::move(items)}, line, {}, all);
}

}  // namespace sluice::jinja
