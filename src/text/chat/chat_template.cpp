#include "text/chat/chat_template.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "text/chat/interpreter.h"
#include "text/chat/json_values.h"
#include "text/chat/parser.h"
#include "text/chat/unicode.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

Error as_error(const jinja::TemplateError& error, const std::string& name, int line) {
  const std::string kind = error.kind == "TemplateError" || error.kind == "Unsupported" || error.kind == "Limit"
                               ? std::string()
                               : error.kind + ": ";
  return {error.code,
          fmt::format("template '{}', line {}: {}{}", name, error.line != 0 ? error.line : line, kind, error.message),
          {}};
}

RenderedChat segmented(const jinja::MarkedText& text) {
  RenderedChat out;
  size_t pos = 0;
  const auto add = [&](size_t end, bool trusted) {
    if (end > pos) out.segments.push_back({text.bytes().substr(pos, end - pos), trusted});
    pos = end;
  };
  for (const auto& span : text.untrusted()) {
    add(span.begin, true);
    add(span.end, false);
  }
  add(text.size(), true);
  return out;
}

void define_inputs(jinja::Interpreter& interpreter, const ChatInputs& inputs) {
  auto& budget = interpreter.runtime().budget;
  interpreter.define("bos_token", jinja::Value::literal(inputs.bos_token));
  interpreter.define("eos_token", jinja::Value::literal(inputs.eos_token));
  interpreter.define("add_generation_prompt", inputs.add_generation_prompt);
  if (inputs.messages != nullptr) interpreter.define("messages", jinja::messages_from_json(*inputs.messages, budget));
  if (inputs.tools != nullptr) interpreter.define("tools", jinja::from_json(*inputs.tools, budget));
  if (inputs.extra == nullptr) return;
  for (const auto& [name, value] : inputs.extra->items()) interpreter.define(name, jinja::from_json(value, budget));
}

}  // namespace

std::string RenderedChat::text() const {
  std::string out;
  for (const auto& segment : segments) out += segment.text;
  return out;
}

ChatTemplate::ChatTemplate(std::unique_ptr<const jinja::Ast> ast, std::string name, RenderLimits limits)
    : ast_(std::move(ast)), name_(std::move(name)), limits_(limits) {}
ChatTemplate::~ChatTemplate() = default;

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::parse(std::string_view source, std::string name,
                                                          RenderLimits limits) {
  if (source.size() > limits.max_source_bytes)
    return resource_exhausted(fmt::format("template '{}': {} bytes long, at most {} are accepted", name, source.size(),
                                          limits.max_source_bytes));
  if (const auto bad = jinja::first_invalid_utf8(source))
    return invalid_argument(fmt::format("template '{}': byte {} is not valid UTF-8", name, *bad));
  try {
    auto ast = jinja::parse_template(source);
    return std::unique_ptr<ChatTemplate>(new ChatTemplate(std::move(ast), std::move(name), limits));
  } catch (const jinja::TemplateError& error) {
    return as_error(error, name, 1);
  } catch (const std::bad_alloc&) {
    return resource_exhausted(fmt::format("template '{}': out of memory while parsing", name));
  }
}

Result<RenderedChat> ChatTemplate::render(const ChatInputs& inputs) const {
  if (inputs.messages == nullptr || !inputs.messages->is_array())
    return invalid_argument("messages must be a list", "messages");
  if (inputs.extra != nullptr && !inputs.extra->is_object())
    return invalid_argument("the further template variables must be an object", "chat_template_kwargs");
  jinja::Interpreter interpreter(limits_, inputs.now_local_s);
  try {
    define_inputs(interpreter, inputs);
    return segmented(interpreter.run(*ast_));
  } catch (const jinja::TemplateError& error) {
    return as_error(error, name_, interpreter.line());
  } catch (const std::bad_alloc&) {
    return resource_exhausted(fmt::format("template '{}': out of memory while rendering", name_));
  }
}

ChatTemplateTraits ChatTemplate::traits() const {
  const Json none;
  const auto reaches = [&](const Json& messages, const Json& tools, std::string_view mark) {
    ChatInputs inputs;
    inputs.messages = &messages;
    inputs.tools = &tools;
    const auto rendered = render(inputs);
    return rendered.ok() && rendered->text().find(mark) != std::string::npos;
  };
  const Json user = {{"role", "user"}, {"content", "question"}};
  const Json system = {{"role", "system"}, {"content", "probe_instruction"}};
  const Json tools = Json::array({{{"type", "function"},
                                   {"function",
                                    {{"name", "probe_function"},
                                     {"description", "a probe"},
                                     {"parameters", {{"type", "object"}, {"properties", Json::object()}}}}}}});
  const Json call = {
      {"role", "assistant"},
      {"content", ""},
      {"tool_calls", Json::array({{{"id", "probe0001"},
                                   {"type", "function"},
                                   {"function", {{"name", "probe_call"}, {"arguments", Json::object()}}}}})}};
  ChatTemplateTraits traits;
  traits.uses_tools = reaches(Json::array({user}), tools, "probe_function");
  traits.accepts_system_role = reaches(Json::array({system, user}), none, "probe_instruction");
  traits.shows_tool_calls = reaches(Json::array({user, call}), tools, "probe_call");
  return traits;
}

bool ChatTemplate::names(std::string_view variable) const {
  return std::ranges::any_of(ast_->exprs, [&](const jinja::Expr& expr) {
    const auto* name = std::get_if<jinja::NameExpr>(&expr.node);
    return name != nullptr && name->name == variable;
  });
}

}  // namespace sluice
