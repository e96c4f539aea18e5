#include "text/chat/interpreter.h"

#include <algorithm>

#include "text/chat/objects.h"
#include "text/chat/operators.h"

namespace sluice::jinja {
namespace {

class Macro final : public Object {
 public:
  Macro(Interpreter& interpreter, const MacroDefinition& definition, FramePtr scope)
      : interpreter_(interpreter), definition_(definition), scope_(std::move(scope)) {}
  std::string type_name() const override { return "Macro"; }
  bool callable() const override { return true; }
  Value call(Runtime&, const Arguments& args) override { return interpreter_.call_macro(definition_, scope_, args); }
  Value attribute(const std::string& name, bool& found) override {
    found = name == "name";
    return found ? Value::literal(definition_.name) : Value();
  }
  std::string repr() const override { return fmt::format("<Macro '{}'>", definition_.name); }

 private:
  Interpreter& interpreter_;
  const MacroDefinition& definition_;
  FramePtr scope_;
};

}  // namespace

const Value* Frame::find(const std::string& name) const {
  for (const Frame* frame = this; frame != nullptr; frame = frame->parent_.get()) {
    const auto it = frame->variables_.find(name);
    if (it != frame->variables_.end()) return &it->second;
  }
  return nullptr;
}

/// Makes a new scope below the current one, or below `parent`, until it is left.
class Interpreter::Scope {
 public:
  explicit Scope(Interpreter& interpreter) : Scope(interpreter, interpreter.frame_) {}
  Scope(Interpreter& interpreter, const FramePtr& parent)
      : interpreter_(interpreter), before_(std::exchange(interpreter.frame_, std::make_shared<Frame>(parent))) {}
  ~Scope() { interpreter_.frame_ = std::move(before_); }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  Interpreter& interpreter_;
  FramePtr before_;
};

/// What `loop(items)` runs: the same for statement, in the scope around it, its output captured.
class Interpreter::RecursiveLoop final : public Loop::Recursion {
 public:
  RecursiveLoop(Interpreter& interpreter, const ForStmt& stmt)
      : interpreter_(interpreter), stmt_(stmt), frame_(interpreter.frame_) {}
  Value run(const Value& items, int64_t depth0) override {
    MarkedText text;
    const Scope scope(interpreter_, frame_);
    MarkedText* const before = std::exchange(interpreter_.out_, &text);
    interpreter_.run_loop(stmt_, items, depth0);
    interpreter_.out_ = before;
    return text;
  }

 private:
  Interpreter& interpreter_;
  const ForStmt& stmt_;
  FramePtr frame_;
};

MarkedText Interpreter::run(const Ast& ast) {
  MarkedText text;
  out_ = &text;
  const Scope scope(*this);
  exec(ast.body);
  return text;
}

Interpreter::Flow Interpreter::exec(const Body& body) {
  for (const Stmt* stmt : body)
    if (const Flow flow = exec(*stmt); flow != Flow::next) return flow;
  return Flow::next;
}

Interpreter::Flow Interpreter::exec(const Stmt& stmt) {
  const Budget::Depth depth(runtime_.budget);
  runtime_.budget.step();
  line_ = stmt.line;
  return std::visit([this](const auto& node) { return run(node); }, stmt.node);
}

void Interpreter::emit(const MarkedText& text) {
  runtime_.budget.allocate(text.size());
  if (out_->size() + text.size() > runtime_.budget.limits().max_output_bytes)
    fail_limit(
        fmt::format("more than {} bytes of output (max_output_bytes)", runtime_.budget.limits().max_output_bytes));
  out_->append(text);
}

Interpreter::Flow Interpreter::run(const DataStmt& stmt) {
  emit(stmt.text.text());
  return Flow::next;
}

Interpreter::Flow Interpreter::run(const PrintStmt& stmt) {
  const Value value = eval(stmt.value);
  if (value.is_text()) emit(value.text());
  else emit(to_text(value, runtime_.budget));
  return Flow::next;
}

Interpreter::Flow Interpreter::run(const IfStmt& stmt) {
  for (const auto& [condition, body] : stmt.branches)
    if (eval(condition).truthy()) return exec(body);
  return exec(stmt.otherwise);
}

SequencePtr Interpreter::loop_items(const ForStmt& stmt, const Value& items) {
  const SequencePtr all = iterate(items, runtime_.budget);
  if (stmt.filter == nullptr) return all;
  std::vector<Value> kept;
  for (const auto& item : all->items) {
    const Scope scope(*this);
    assign(stmt.target, item);
    if (eval(stmt.filter).truthy()) kept.push_back(item);
  }
  return make_list(std::move(kept)).sequence_ptr();
}

Interpreter::Flow Interpreter::run(const ForStmt& stmt) { return run_loop(stmt, eval(stmt.items), 0); }

Interpreter::Flow Interpreter::run_loop(const ForStmt& stmt, const Value& items, int64_t depth0) {
  const SequencePtr sequence = loop_items(stmt, items);
  const auto loop = std::make_shared<Loop>(sequence, depth0);
  RecursiveLoop recursion(*this, stmt);
  if (stmt.recursive) loop->set_recursion(&recursion);
  // The loop object may outlive the loop in a namespace; then it must not call back into it.
  const std::shared_ptr<void> detach(nullptr, [&](void*) { loop->set_recursion(nullptr); });
  bool completed = false;  // a pass; jinja2 runs the else where none was, and not only where there are no items
  for (size_t i = 0; i < sequence->items.size(); ++i) {
    runtime_.budget.step();
    const Scope scope(*this);
    loop->move_to(i);
    frame_->set("loop", ObjectPtr(loop));
    assign(stmt.target, sequence->items[i]);
    const Flow flow = exec(stmt.body);
    if (flow == Flow::broke) break;
    completed |= flow == Flow::next;
  }
  if (!completed) {
    const Scope scope(*this);
    return exec(stmt.otherwise);
  }
  return Flow::next;
}

void Interpreter::assign(const Target& target, const Value& value) {
  if (target.is_tuple) {
    const bool iterable = value.is_text() || value.is_sequence() || value.is_dict() || value.is_generator() ||
                          value.is_undefined();
    if (!iterable) fail_type(fmt::format("cannot unpack non-iterable {} object", value.type_name()));
    const auto parts = iterate(value, runtime_.budget);
    const size_t expected = target.items.size();
    if (parts->items.size() < expected)
      fail_value(fmt::format("not enough values to unpack (expected {}, got {})", expected, parts->items.size()));
    if (parts->items.size() > expected)
      fail_value(fmt::format("too many values to unpack (expected {})", expected));
    for (size_t i = 0; i < expected; ++i) assign(target.items[i], parts->items[i]);
  } else if (!target.attribute.empty()) {
    const Value* holder = frame_->find(target.name);
    auto* const ns =
        holder != nullptr && holder->is_object() ? dynamic_cast<Namespace*>(holder->object().get()) : nullptr;
    if (ns == nullptr) fail("TemplateRuntimeError", "cannot assign attribute on non-namespace object");
    ns->set(target.attribute, value);
  } else {
    frame_->set(target.name, value);
  }
}

Interpreter::Flow Interpreter::run(const SetStmt& stmt) {
  assign(stmt.target, eval(stmt.value));
  return Flow::next;
}

MarkedText Interpreter::captured(const Body& body) {
  MarkedText text;
  const Scope scope(*this);
  MarkedText* const before = std::exchange(out_, &text);
  exec(body);
  out_ = before;
  return text;
}

Value Interpreter::apply_filters(const std::vector<AppliedFilter>& filters, Value value) {
  for (const auto& filter : filters) value = apply_filter(runtime_, filter.name, value, eval_args(filter.args));
  return value;
}

Interpreter::Flow Interpreter::run(const SetBlockStmt& stmt) {
  assign(stmt.target, apply_filters(stmt.filters, captured(stmt.body)));
  return Flow::next;
}

Interpreter::Flow Interpreter::run(const FilterStmt& stmt) {
  emit(to_text(apply_filters(stmt.filters, captured(stmt.body)), runtime_.budget));
  return Flow::next;
}

Interpreter::Flow Interpreter::run(const WithStmt& stmt) {
  std::vector<Value> values;
  for (const auto& [target, value] : stmt.values) values.push_back(eval(value));
  const Scope scope(*this);
  for (size_t i = 0; i < values.size(); ++i) assign(stmt.values[i].first, values[i]);
  return exec(stmt.body);
}

Interpreter::Flow Interpreter::run(const ScopeStmt& stmt) {
  const Scope scope(*this);
  return exec(stmt.body);
}

Value Interpreter::make_macro(const MacroDefinition& macro) {
  runtime_.budget.allocate(sizeof(Macro) + sizeof(Frame));
  if (!std::exchange(frame_->kept, true)) runtime_.to_release.push_back(frame_);
  return ObjectPtr(std::make_shared<Macro>(*this, macro, frame_));
}

Interpreter::Flow Interpreter::run(const MacroStmt& stmt) {
  frame_->set(stmt.macro.name, make_macro(stmt.macro));
  return Flow::next;
}

Interpreter::Flow Interpreter::run(const CallStmt& stmt) {
  const auto& call = std::get<CallExpr>(stmt.call->node);
  const Value callee = eval(call.callee);
  Arguments args = eval_args(call.args);
  args.named.emplace_back("caller", make_macro(stmt.caller));
  emit(to_text(call_value(runtime_, callee, args), runtime_.budget));
  return Flow::next;
}

Value Interpreter::call_macro(const MacroDefinition& macro, const FramePtr& scope_of_definition,
                              const Arguments& args) {
  const Scope scope(*this, scope_of_definition);
  NamedValues named = args.named;
  const auto take = [&](const std::string& name) -> std::optional<Value> {
    const auto it = std::find_if(named.begin(), named.end(), [&](const auto& n) { return n.first == name; });
    if (it == named.end()) return std::nullopt;
    Value value = std::move(it->second);
    named.erase(it);
    return value;
  };
  const size_t count = macro.parameters.size(), first_default = count - macro.defaults.size();
  bool has_caller = false;
  for (size_t i = 0; i < count; ++i) {
    const std::string& name = macro.parameters[i];
    std::optional<Value> given;
    if (i < args.positional.size()) given = args.positional[i];
    else given = take(name);
    has_caller |= name == "caller";
    if (!given && i >= first_default) given = eval(macro.defaults[i - first_default]);
    frame_->set(name, given ? *given : Value::undefined(fmt::format("parameter '{}' was not provided", name)));
  }
  if (macro.uses_caller && !has_caller) {
    const auto caller = take("caller");
    frame_->set("caller", caller ? *caller : Value::undefined("No caller defined"));
  }
  if (macro.uses_kwargs) {
    Dict kwargs;
    for (auto& [name, value] : named) kwargs.set(Value::literal(name), std::move(value));
    frame_->set("kwargs", make_dict(std::move(kwargs)));
  } else if (!named.empty()) {
    fail_type(fmt::format("macro '{}' takes no keyword argument '{}'", macro.name, named.front().first));
  }
  if (macro.uses_varargs) {
    const auto extra = std::min(count, args.positional.size());
    frame_->set("varargs",
                make_tuple({args.positional.begin() + static_cast<std::ptrdiff_t>(extra), args.positional.end()}));
  } else if (args.positional.size() > count) {
    fail_type(fmt::format("macro '{}' takes not more than {} argument(s)", macro.name, count));
  }
  return captured(macro.body);
}

}  // namespace sluice::jinja
