#include "serve/openai/chat_request.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace sluice {

namespace {

constexpr const char* kRoles[] = {"system", "developer", "user", "assistant", "tool"};

/// The text of one content part; nothing after a failure.
std::string part_text(FieldReader& in, const Json& part, const std::string& path) {
  if (!part.is_object()) {
    in.fail(path, part, "an object such as {\"type\": \"text\", \"text\": \"...\"}");
    return {};
  }
  FieldReader fields(part, path + ".");
  std::string type, text;
  if (!fields.string("type", type) && !fields.failed())
    fields.fail(invalid_argument(path + ".type is missing; it must be \"text\"", path + ".type"));
  if (!fields.failed() && type != "text")
    fields.fail(unsupported(
        fmt::format("{}.type is {}; only \"text\" is understood by this model", path, describe_json(Json(type))),
        path + ".type"));
  if (!fields.string("text", text) && !fields.failed())
    fields.fail(invalid_argument(path + ".text is missing; it must be a string", path + ".text"));
  if (fields.failed()) in.fail(fields.error());
  return text;
}

/// A string, or text parts joined by newlines, as vLLM joins them.
std::string read_content(FieldReader& in, const Json& content, const std::string& path) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) {
    in.fail(path, content, "a string or an array of text parts");
    return {};
  }
  std::string text;
  for (size_t i = 0; i < content.size() && !in.failed(); ++i) {
    if (i > 0) text += '\n';
    text += part_text(in, content[i], fmt::format("{}[{}]", path, i));
  }
  return text;
}

/// OpenAI's clients send the arguments as JSON text; templates print them as the object that they are.
Json read_tool_calls(FieldReader& in, const Json& calls, const std::string& path) {
  Json out = Json::array();
  for (size_t i = 0; i < calls.size(); ++i) {
    const std::string at = fmt::format("{}[{}]", path, i);
    Json call = calls[i];
    const auto function = call.is_object() ? call.find("function") : call.end();
    if (!call.is_object() || function == call.end() || !function->is_object() || !function->contains("name") ||
        !(*function)["name"].is_string()) {
      in.fail(at, calls[i], "an object with function.name and function.arguments");
      return out;
    }
    Json& arguments = (*function)["arguments"];
    if (arguments.is_string()) {
      const std::string text = arguments.get<std::string>();
      Result<Json> parsed = parse_json(text.empty() ? "{}" : text);
      if (!parsed.ok() || !parsed->is_object()) {
        in.fail(at + ".function.arguments", arguments, "the text of a JSON object");
        return out;
      }
      arguments = std::move(*parsed);
    } else if (arguments.is_null()) {
      arguments = Json::object();
    } else if (!arguments.is_object()) {
      in.fail(at + ".function.arguments", arguments, "an object or the text of one");
      return out;
    }
    out.push_back(std::move(call));
  }
  return out;
}

Json read_message(FieldReader& in, const Json& message, const std::string& path, std::vector<std::string>& warnings) {
  Json out = Json::object();
  if (!message.is_object()) {
    in.fail(path, message, "an object with role and content");
    return out;
  }
  FieldReader fields(message, path + ".");
  std::string role;
  if (!fields.string("role", role) && !fields.failed())
    fields.fail(invalid_argument(path + ".role is missing", path + ".role"));
  if (!fields.failed() && std::ranges::find(kRoles, role) == std::end(kRoles))
    fields.fail("role", Json(role), "system, developer, user, assistant or tool");
  // Templates know the role that came first: where OpenAI says developer, they say system.
  out["role"] = role == "developer" ? "system" : role;
  const Json* content = fields.any("content");
  const Json* calls = fields.array("tool_calls", "an array of calls");
  const bool may_be_empty = role == "assistant" && calls != nullptr;
  if (content == nullptr && !may_be_empty && !fields.failed())
    fields.fail(invalid_argument(path + ".content is missing; it must be a string or an array of text parts",
                                 path + ".content"));
  out["content"] = content == nullptr ? std::string() : read_content(in, *content, path + ".content");
  if (calls != nullptr) out["tool_calls"] = read_tool_calls(in, *calls, path + ".tool_calls");
  for (const char* name : {"name", "tool_call_id", "reasoning_content", "reasoning"}) {
    std::string text;
    if (fields.string(name, text)) out[name] = std::move(text);
  }
  fields.only("refusal", R"([""])", "refusals are not rendered");
  fields.only("audio", "[]", "this model reads text only");
  fields.only("function_call", "[]", "its place is taken by tool_calls");
  fields.ignore("annotations");
  if (fields.failed()) in.fail(fields.error());
  for (std::string& name : fields.unknown()) warnings.push_back(std::move(name));
  return out;
}

void read_messages(FieldReader& in, ChatRequest& out) {
  const Json* messages = in.array("messages", "an array of messages");
  if (messages == nullptr) {
    if (!in.failed()) in.fail(invalid_argument("messages is missing; it must be an array of messages", "messages"));
    return;
  }
  if (messages->empty()) in.fail(invalid_argument("messages is empty; it must hold at least one message", "messages"));
  auto list = std::make_shared<Json>(Json::array());
  for (size_t i = 0; i < messages->size() && !in.failed(); ++i)
    list->push_back(read_message(in, (*messages)[i], fmt::format("messages[{}]", i), out.warnings));
  out.messages = std::move(list);
}

void read_tools(FieldReader& in, ChatRequest& out) {
  const Json* tools = in.array("tools", "an array of functions");
  const Json* choice = in.any("tool_choice");
  for (size_t i = 0; tools != nullptr && i < tools->size(); ++i) {
    const Json& tool = (*tools)[i];
    const bool right = tool.is_object() && tool.value("type", Json()) == Json("function") &&
                       tool.contains("function") && tool["function"].is_object() &&
                       tool["function"].value("name", Json()).is_string();
    if (!right) return in.fail(fmt::format("tools[{}]", i), tool, "an object with type \"function\" and function.name");
  }
  if (choice != nullptr && *choice != Json("none") && *choice != Json("auto"))
    return in.fail(
        unsupported(fmt::format("tool_choice is {}, but forcing a call is not built; leave it out or set it to "
                                "\"auto\" or \"none\"",
                                describe_json(*choice)),
                    "tool_choice"));
  if (tools == nullptr || tools->empty()) return;
  if (choice != nullptr && *choice == Json("none")) return;
  out.tools = std::make_shared<const Json>(*tools);
}

void read_prompt_fields(FieldReader& in, ChatRequest& out) {
  read_messages(in, out);
  read_tools(in, out);
  in.boolean("add_generation_prompt", out.add_generation_prompt);
  in.boolean("continue_final_message", out.continue_final_message);
  in.boolean("add_special_tokens", out.add_special_tokens);
  if (out.continue_final_message) {
    if (const Json* asked = in.any("add_generation_prompt"); asked != nullptr && *asked == Json(true))
      in.fail(invalid_argument("continue_final_message and add_generation_prompt are both true; only one may be",
                               "continue_final_message"));
    out.add_generation_prompt = false;
  }
  auto kwargs = std::make_shared<Json>(Json::object());
  if (const Json* given = in.object("chat_template_kwargs", "an object of names and values")) *kwargs = *given;
  std::string effort;
  if (in.string("reasoning_effort", effort)) (*kwargs)["reasoning_effort"] = effort;
  if (const Json* documents = in.array("documents", "an array of documents")) (*kwargs)["documents"] = *documents;
  for (const char* name : {"messages", "tools", "add_generation_prompt"})
    if (kwargs->contains(name))
      in.fail(invalid_argument(fmt::format("chat_template_kwargs names {}, which has a field of its own", name),
                               "chat_template_kwargs"));
  out.template_kwargs = std::move(kwargs);
  in.only("chat_template", "[]", "templates come with the model alone");
  in.only("mm_processor_kwargs", "[{}]", "this model reads text only");
}

void read_chat_logprobs(FieldReader& in, SamplingParams& sampling) {
  bool wanted = false;
  int top = 0;
  in.boolean("logprobs", wanted);
  if (in.integer("top_logprobs", top, 0, kMaxTopLogprobs) && !wanted && top > 0)
    in.fail(invalid_argument("top_logprobs is given, but logprobs is not true", "top_logprobs"));
  if (wanted) sampling.logprobs = top;
}

void read_max_tokens(FieldReader& in, ChatRequest& out) {
  int value = 0;
  if (in.integer("max_tokens", value, 1, INT32_MAX)) out.max_tokens = value;
  if (in.integer("max_completion_tokens", value, 1, INT32_MAX)) {
    if (out.max_tokens && *out.max_tokens != value)
      in.fail(invalid_argument(
          fmt::format("max_tokens is {} and max_completion_tokens is {}; give one of them", *out.max_tokens, value),
          "max_completion_tokens"));
    out.max_tokens = value;
    out.max_tokens_param = "max_completion_tokens";
  }
}

}  // namespace

Result<ChatRequest> parse_chat_request(const Json& body, const SamplingParams& defaults) {
  if (!body.is_object())
    return invalid_argument(fmt::format("the body is {}; it must be an object", describe_json(body)));
  ChatRequest out;
  out.sampling = defaults;
  FieldReader in(body);
  read_prompt_fields(in, out);
  read_generation_fields(in, out);
  read_chat_logprobs(in, out.sampling);
  read_max_tokens(in, out);
  in.only("echo", "[false]", "the prompt is not repeated in an answer");
  in.only("modalities", R"([["text"]])", "this model writes text only");
  in.only("audio", "[]", "this model writes text only");
  in.only("functions", "[[]]", "their place is taken by tools");
  in.only("function_call", R"(["none"])", "its place is taken by tool_choice");
  in.only("web_search_options", "[]", "there is no search");
  in.only("verbosity", "[]", "it is not built");
  in.only("include_reasoning", "[true]", "it is not left out");
  if (out.tools != nullptr)
    in.only("parallel_tool_calls", "[true]", "tool calls are not parsed");
  else
    in.ignore("parallel_tool_calls");
  if (in.failed()) return in.error();
  for (std::string& name : in.unknown()) out.warnings.push_back(std::move(name));
  return out;
}

Result<ChatRequest> parse_chat_prompt(const Json& body) {
  if (!body.is_object())
    return invalid_argument(fmt::format("the body is {}; it must be an object", describe_json(body)));
  ChatRequest out;
  FieldReader in(body);
  in.string("model", out.model);
  in.ignore("return_token_strs");
  read_prompt_fields(in, out);
  if (in.failed()) return in.error();
  for (std::string& name : in.unknown()) out.warnings.push_back(std::move(name));
  return out;
}

}  // namespace sluice
