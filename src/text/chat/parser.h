#pragma once
// Tokens -> tree, by recursive descent with jinja2's precedences.

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "text/chat/ast.h"
#include "text/chat/lexer.h"

namespace sluice::jinja {

/// Throws TemplateError: a syntax error, an unsupported tag (its line named), or nesting too deep.
std::unique_ptr<const Ast> parse_template(std::string_view source);

/// Shared by the two halves of the parser: the token cursor, the arenas and the nesting bound.
class ParserBase {
 protected:
  explicit ParserBase(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[pos_]; }
  const Token& peek() const { return tokens_[std::min(pos_ + 1, tokens_.size() - 1)]; }
  Token next();
  bool at_op(std::string_view op) const { return current().kind == TokenKind::op && current().text == op; }
  bool at_name(std::string_view name) const { return current().kind == TokenKind::name && current().text == name; }
  bool skip_op(std::string_view op);
  bool skip_name(std::string_view name);
  void expect_op(std::string_view op);
  void expect_name(std::string_view name);
  std::string expect_identifier();
  void expect(TokenKind kind);
  [[noreturn]] void fail_expected(std::string_view what) const;

  /// Held while one level of nesting is parsed.
  class Nesting {
   public:
    explicit Nesting(ParserBase& parser);
    ~Nesting() { --parser_.nesting_; }

   private:
    ParserBase& parser_;
  };

  std::unique_ptr<Ast> ast_ = std::make_unique<Ast>();

 private:
  std::vector<Token> tokens_;
  size_t pos_ = 0;
  int nesting_ = 0;
};

class ExpressionParser : public ParserBase {
 protected:
  using ParserBase::ParserBase;

  const Expr* expression();
  /// `a, b` makes a tuple. `end_name` (such as "recursive") may follow it; an inline if is left to the caller where
  /// asked.
  const Expr* tuple(bool with_conditional = true, std::string_view end_name = {}, bool explicit_parentheses = false);
  const Expr* unary(bool with_filters = true);
  const Expr* postfix(const Expr* expr);
  CallArgs call_args();
  std::vector<AppliedFilter> filter_chain();
  std::string dotted_name();

  const Expr* make(Expr::Node node, int line, std::initializer_list<const Expr*> children, const Exprs& more = {},
                   const CallArgs* args = nullptr);

  bool saw_varargs_ = false, saw_kwargs_ = false, saw_caller_ = false;  // since the innermost macro began

 private:
  const Expr* conditional();
  const Expr* disjunction();
  const Expr* conjunction();
  const Expr* negation();
  const Expr* comparison();
  const Expr* sum();
  const Expr* concatenation();
  const Expr* product();
  const Expr* power();
  const Expr* primary();
  const Expr* list();
  const Expr* dict();
  const Expr* literal_number();
  const Expr* filters_and_tests(const Expr* expr);
  const Expr* test(const Expr* input);
  const Expr* subscript(const Expr* object);
  const Expr* subscript_part(const Expr* object);
};

}  // namespace sluice::jinja
