#include <algorithm>
#include <array>

#include "text/chat/parser.h"

namespace sluice::jinja {
namespace {

using Names = std::initializer_list<std::string_view>;

class StatementParser final : public ExpressionParser {
 public:
  explicit StatementParser(std::vector<Token> tokens) : ExpressionParser(std::move(tokens)) {}

  std::unique_ptr<const Ast> run() {
    ast_->body = body({}, "");
    return std::move(ast_);
  }

 private:
  const Stmt* make_stmt(Stmt::Node node, int line) {
    ast_->stmts.push_back({std::move(node), line});
    return &ast_->stmts.back();
  }

  /// Statements up to a tag named in `ends`, whose name is left current; to the end of the template where none is
  /// named.
  Body body(Names ends, std::string_view inside) {
    const Nesting nesting(*this);
    Body out;
    while (true) {
      const int line = current().line;
      switch (current().kind) {
        case TokenKind::data: out.push_back(make_stmt(DataStmt{Value::literal(next().text)}, line)); break;
        case TokenKind::variable_begin: {
          next();
          const Expr* value = tuple();
          expect(TokenKind::variable_end);
          out.push_back(make_stmt(PrintStmt{value}, line));
          break;
        }
        case TokenKind::block_begin: {
          next();
          if (current().kind != TokenKind::name) fail_expected("a tag name");
          if (std::any_of(ends.begin(), ends.end(), [&](auto end) { return at_name(end); })) return out;
          out.push_back(statement());
          expect(TokenKind::block_end);
          break;
        }
        default:
          if (ends.size() > 0)
            fail_syntax(fmt::format("Unexpected end of template. The innermost block that needs to be closed is '{}'.",
                                    inside), line);
          return out;
      }
    }
  }

  /// The body of a tag whose opening tag is about to end, and the closing tag's name.
  Body block(std::string_view inside, Names ends) {
    expect(TokenKind::block_end);
    return body(ends, inside);
  }
  Body block_until(std::string_view inside, std::string_view end) {
    Body out = block(inside, {end});
    next();
    return out;
  }

  const Stmt* statement() {
    const Token tag = next();
    const int line = tag.line;
    const std::string& name = tag.text;
    if (name == "if") return if_statement(line);
    if (name == "for") return for_statement(line);
    if (name == "set") return set_statement(line);
    if (name == "macro") return macro_statement(line);
    if (name == "call") return call_statement(line);
    if (name == "with") return with_statement(line);
    if (name == "filter") {
      auto filters = filter_chain();
      return make_stmt(FilterStmt{std::move(filters), block_until("filter", "endfilter")}, line);
    }
    if (name == "generation")
      return make_stmt(ScopeStmt{without_loop([&] { return block_until(name, "endgeneration"); })}, line);
    if (name == "break" || name == "continue") {
      if (loops_ == 0) fail_syntax(fmt::format("'{}' outside loop", name), line);
      return name == "break" ? make_stmt(BreakStmt{}, line) : make_stmt(ContinueStmt{}, line);
    }
    static constexpr std::array<std::string_view, 6> kUnsupported = {"include", "import", "from", "extends", "block",
                                                                     "autoescape"};
    if (std::find(kUnsupported.begin(), kUnsupported.end(), name) != kUnsupported.end())
      throw TemplateError{ErrorCode::unsupported, "Unsupported",
                          fmt::format("the tag '{}' is not supported: a chat template is one file", name), line};
    fail_syntax(fmt::format("Encountered unknown tag '{}'.", name), line);
  }

  /// Parses a body that break and continue cannot leave.
  template <class F>
  Body without_loop(F parse) {
    const int outer = std::exchange(loops_, 0);
    Body out = parse();
    loops_ = outer;
    return out;
  }

  const Stmt* if_statement(int line) {
    IfStmt stmt;
    while (true) {
      const Expr* condition = tuple(false);
      Body branch = block("if", {"elif", "else", "endif"});
      stmt.branches.emplace_back(condition, std::move(branch));
      if (skip_name("elif")) continue;
      if (skip_name("else")) stmt.otherwise = block_until("if", "endif");
      else expect_name("endif");
      return make_stmt(std::move(stmt), line);
    }
  }

  const Stmt* for_statement(int line) {
    ForStmt stmt{};
    stmt.target = target(false, "in");
    expect_name("in");
    stmt.items = tuple(false, "recursive");
    if (skip_name("if")) stmt.filter = expression();
    stmt.recursive = skip_name("recursive");
    ++loops_;
    stmt.body = block("for", {"endfor", "else"});
    --loops_;
    if (next().text == "else") stmt.otherwise = block_until("for", "endfor");
    return make_stmt(std::move(stmt), line);
  }

  /// `a`, `a, b`, `(a, (b, c))` and, where `attributes`, `ns.a`.
  Target target(bool attributes, std::string_view end_name) {
    const Nesting nesting(*this);
    Target out;
    bool comma = false;
    while (true) {
      if (at_op(")") || at_op("=") || (!end_name.empty() && at_name(end_name)) ||
          current().kind == TokenKind::block_end)
        break;
      out.items.push_back(single_target(attributes));
      if (!skip_op(",")) break;
      comma = true;
    }
    if (out.items.empty()) fail_expected("a name to assign to");
    if (!comma) {
      Target only = std::move(out.items[0]);
      return only;
    }
    out.is_tuple = true;
    return out;
  }

  Target single_target(bool attributes) {
    if (skip_op("(")) {
      Target inner = target(attributes, {});
      expect_op(")");
      return inner;
    }
    Target out;
    const int line = current().line;
    out.name = expect_identifier();
    static constexpr std::array<std::string_view, 6> kConstants = {"true", "false", "none", "True", "False", "None"};
    if (std::find(kConstants.begin(), kConstants.end(), out.name) != kConstants.end())
      fail_syntax(fmt::format("can't assign to '{}'", out.name), line);
    if (!attributes && out.name == "loop")
      fail_syntax("Can't assign to special loop variable in for-loop target", line);
    if (attributes && skip_op(".")) out.attribute = expect_identifier();
    return out;
  }

  const Stmt* set_statement(int line) {
    Target to = target(true, {});
    if (skip_op("=")) {
      const Expr* value = tuple();
      return make_stmt(SetStmt{std::move(to), value}, line);
    }
    std::vector<AppliedFilter> filters;
    if (skip_op("|")) filters = filter_chain();
    Body content = block_until("set", "endset");
    return make_stmt(SetBlockStmt{std::move(to), std::move(filters), std::move(content)}, line);
  }

  void signature(MacroDefinition& macro) {
    expect_op("(");
    while (!at_op(")")) {
      if (!macro.parameters.empty()) expect_op(",");
      if (at_op(")")) break;
      macro.parameters.push_back(expect_identifier());
      if (skip_op("=")) {
        macro.defaults.push_back(expression());
      } else if (!macro.defaults.empty()) {
        fail_syntax("non-default argument follows default argument", current().line);
      }
    }
    expect_op(")");
  }

  /// The body of a macro, noting which of the implicit names it reads.
  void macro_body(MacroDefinition& macro, std::string_view tag, std::string_view end) {
    const bool varargs = std::exchange(saw_varargs_, false), kwargs = std::exchange(saw_kwargs_, false),
               caller = std::exchange(saw_caller_, false);
    macro.body = without_loop([&] { return block_until(tag, end); });
    macro.uses_varargs = std::exchange(saw_varargs_, varargs);
    macro.uses_kwargs = std::exchange(saw_kwargs_, kwargs);
    macro.uses_caller = std::exchange(saw_caller_, caller);
  }

  const Stmt* macro_statement(int line) {
    MacroDefinition macro;
    macro.name = expect_identifier();
    signature(macro);
    macro_body(macro, "macro", "endmacro");
    return make_stmt(MacroStmt{std::move(macro)}, line);
  }

  const Stmt* call_statement(int line) {
    MacroDefinition caller;
    caller.name = "caller";
    if (at_op("(")) signature(caller);
    const Expr* call = expression();
    if (!std::holds_alternative<CallExpr>(call->node)) fail_syntax("expected call", line);
    macro_body(caller, "call", "endcall");
    return make_stmt(CallStmt{std::move(caller), call}, line);
  }

  const Stmt* with_statement(int line) {
    WithStmt stmt;
    while (current().kind != TokenKind::block_end) {
      if (!stmt.values.empty()) expect_op(",");
      Target to = single_target(false);
      expect_op("=");
      const Expr* value = expression();
      stmt.values.emplace_back(std::move(to), value);
    }
    stmt.body = block_until("with", "endwith");
    return make_stmt(std::move(stmt), line);
  }

  int loops_ = 0;
};

}  // namespace

std::unique_ptr<const Ast> parse_template(std::string_view source) { return StatementParser(tokenize(source)).run(); }

}  // namespace sluice::jinja
