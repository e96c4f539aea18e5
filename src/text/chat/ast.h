#pragma once
// The parsed template. Nodes live in the template's arenas and point at each other plainly, so that a deep tree is
// freed flat.

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "text/chat/operators.h"
#include "text/chat/value.h"

namespace sluice::jinja {

struct Expr;
struct Stmt;
using Body = std::vector<const Stmt*>;
using Exprs = std::vector<const Expr*>;

struct CallArgs {
  Exprs positional;
  std::vector<std::pair<std::string, const Expr*>> named;
  const Expr* star = nullptr;       // *args
  const Expr* star_star = nullptr;  // **kwargs
};

struct LiteralExpr { Value value; };
struct NameExpr { std::string name; };
struct ListExpr { Exprs items; };
struct TupleExpr { Exprs items; };
struct DictExpr { std::vector<std::pair<const Expr*, const Expr*>> items; };
struct NotExpr { const Expr* operand; };
struct SignExpr { bool minus; const Expr* operand; };
struct BinaryExpr { BinaryOp op; const Expr *left, *right; };
struct LogicExpr { bool is_and; const Expr *left, *right; };
struct CompareExpr { const Expr* first; std::vector<std::pair<CompareOp, const Expr*>> rest; };
struct ConcatExpr { Exprs parts; };  // ~
struct ConditionalExpr { const Expr *condition, *yes, *no; };  // no: null where there is no else
struct AttributeExpr { const Expr* object; std::string name; };
struct ItemExpr { const Expr *object, *key; };
struct SliceExpr { const Expr *object, *start, *stop, *step; };  // bounds may be null
struct CallExpr { const Expr* callee; CallArgs args; };
struct FilterExpr { const Expr* input; std::string name; CallArgs args; };
struct TestExpr { const Expr* input; std::string name; CallArgs args; bool negated; };

struct Expr {
  using Node = std::variant<LiteralExpr, NameExpr, ListExpr, TupleExpr, DictExpr, NotExpr, SignExpr, BinaryExpr,
                            LogicExpr, CompareExpr, ConcatExpr, ConditionalExpr, AttributeExpr, ItemExpr, SliceExpr,
                            CallExpr, FilterExpr, TestExpr>;
  Node node;
  int line = 0;
  int depth = 1;  // of the tree below; bounded by the parser
};

/// What `set`, `for` and `with` assign to: a name, ns.attribute, or a tuple of targets.
struct Target {
  std::string name;
  std::string attribute;
  std::vector<Target> items;  // not empty: a tuple
  bool is_tuple = false;
};

struct AppliedFilter {
  std::string name;
  CallArgs args;
};

struct MacroDefinition {
  std::string name;
  std::vector<std::string> parameters;
  Exprs defaults;  // of the last parameters
  Body body;
  bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
};

struct DataStmt { Value text; };
struct PrintStmt { const Expr* value; };
struct IfStmt { std::vector<std::pair<const Expr*, Body>> branches; Body otherwise; };
struct ForStmt { Target target; const Expr* items; const Expr* filter; Body body, otherwise; bool recursive; };
struct SetStmt { Target target; const Expr* value; };
struct SetBlockStmt { Target target; std::vector<AppliedFilter> filters; Body body; };
struct MacroStmt { MacroDefinition macro; };
struct CallStmt { MacroDefinition caller; const Expr* call; };  // call is a CallExpr
struct FilterStmt { std::vector<AppliedFilter> filters; Body body; };
struct WithStmt { std::vector<std::pair<Target, const Expr*>> values; Body body; };
struct ScopeStmt { Body body; };  // {% generation %}
struct BreakStmt {};
struct ContinueStmt {};

struct Stmt {
  using Node = std::variant<DataStmt, PrintStmt, IfStmt, ForStmt, SetStmt, SetBlockStmt, MacroStmt, CallStmt,
                            FilterStmt, WithStmt, ScopeStmt, BreakStmt, ContinueStmt>;
  Node node;
  int line = 0;
};

struct Ast {
  std::deque<Expr> exprs;
  std::deque<Stmt> stmts;
  Body body;
};

}  // namespace sluice::jinja
