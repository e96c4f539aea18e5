#pragma once
// Runs a parsed template: scopes, statements, expressions and macros.

#include <memory>
#include <string>
#include <unordered_map>

#include "text/chat/ast.h"
#include "text/chat/runtime.h"

namespace sluice::jinja {

/// One scope's variables. A macro keeps the scope that it was defined in.
class Frame final : public Object {
 public:
  explicit Frame(std::shared_ptr<Frame> parent) : parent_(std::move(parent)) {}
  std::string type_name() const override { return "frame"; }
  void release() override { variables_.clear(); }

  void set(const std::string& name, Value value) { variables_[name] = std::move(value); }
  /// The innermost variable of that name, or null.
  const Value* find(const std::string& name) const;

  bool kept = false;  // already among the runtime's objects to release

 private:
  std::unordered_map<std::string, Value> variables_;
  std::shared_ptr<Frame> parent_;
};
using FramePtr = std::shared_ptr<Frame>;

class Interpreter {
 public:
  Interpreter(const RenderLimits& limits, int64_t now_local_s) : runtime_(limits, now_local_s) {}

  /// A variable that the template sees.
  void define(const std::string& name, Value value) { frame_->set(name, std::move(value)); }
  Runtime& runtime() { return runtime_; }
  MarkedText run(const Ast& ast);
  /// The line being evaluated, for an error that does not know its own.
  int line() const { return line_; }

  /// Runs a macro's body in a scope below `scope`; used by the macro objects.
  Value call_macro(const MacroDefinition& macro, const FramePtr& scope, const Arguments& args);

 private:
  enum class Flow : uint8_t { next, broke, continued };
  class RecursiveLoop;
  class Scope;

  Flow exec(const Body& body);
  Flow exec(const Stmt& stmt);
  Flow run(const DataStmt& stmt);
  Flow run(const PrintStmt& stmt);
  Flow run(const IfStmt& stmt);
  Flow run(const ForStmt& stmt);
  Flow run(const SetStmt& stmt);
  Flow run(const SetBlockStmt& stmt);
  Flow run(const MacroStmt& stmt);
  Flow run(const CallStmt& stmt);
  Flow run(const FilterStmt& stmt);
  Flow run(const WithStmt& stmt);
  Flow run(const ScopeStmt& stmt);
  Flow run(const BreakStmt&) { return Flow::broke; }
  Flow run(const ContinueStmt&) { return Flow::continued; }

  Flow run_loop(const ForStmt& stmt, const Value& items, int64_t depth0);
  SequencePtr loop_items(const ForStmt& stmt, const Value& items);
  void emit(const MarkedText& text);
  /// What `body` outputs, run in a scope of its own.
  MarkedText captured(const Body& body);
  void assign(const Target& target, const Value& value);
  Value make_macro(const MacroDefinition& macro);
  Value apply_filters(const std::vector<AppliedFilter>& filters, Value value);

  Value eval(const Expr* expr);
  Value eval(const LiteralExpr& e) { return e.value; }
  Value eval(const NameExpr& e);
  Value eval(const ListExpr& e) { return make_list(eval_all(e.items)); }
  Value eval(const TupleExpr& e) { return make_tuple(eval_all(e.items)); }
  Value eval(const DictExpr& e);
  Value eval(const NotExpr& e) { return !eval(e.operand).truthy(); }
  Value eval(const SignExpr& e) { return negate(eval(e.operand), e.minus); }
  Value eval(const BinaryExpr& e);
  Value eval(const LogicExpr& e);
  Value eval(const CompareExpr& e);
  Value eval(const ConcatExpr& e);
  Value eval(const ConditionalExpr& e);
  Value eval(const AttributeExpr& e);
  Value eval(const ItemExpr& e);
  Value eval(const SliceExpr& e);
  Value eval(const CallExpr& e);
  Value eval(const FilterExpr& e);
  Value eval(const TestExpr& e);
  std::vector<Value> eval_all(const Exprs& exprs);
  Arguments eval_args(const CallArgs& args);

  Runtime runtime_;
  FramePtr frame_ = std::make_shared<Frame>(nullptr);
  MarkedText* out_ = nullptr;
  int line_ = 1;
};

}  // namespace sluice::jinja
