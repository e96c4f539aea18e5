#pragma once
// Chat templates: the Jinja programs that models bring along, run as Hugging Face transformers runs them with jinja2
// (immutable sandbox, trim_blocks, lstrip_blocks, loop controls, the `generation` tag, tojson without ASCII escapes).
// The rendering says of every byte whether it is the template's own or came with the request, so that a tokenizer can
// read control tokens in the former only.

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/chat/render_limits.h"

namespace sluice {

namespace jinja {
struct Ast;
}

/// What a template is given. The JSON is borrowed for the duration of the call; null leaves a variable undefined
/// (transformers passes tools and documents as none where there are none: point to a JSON null for that).
struct ChatInputs {
  const nlohmann::ordered_json* messages = nullptr;
  const nlohmann::ordered_json* tools = nullptr;
  const nlohmann::ordered_json* extra = nullptr;  // an object: further variables (chat_template_kwargs, documents)
  std::string bos_token;
  std::string eos_token;
  bool add_generation_prompt = true;
  int64_t now_local_s = 0;  // what strftime_now shows: seconds since 1970 in local time
};

/// The prompt as alternating runs of template text and request text; never empty runs.
struct RenderedChat {
  struct Segment {
    std::string text;
    bool trusted = false;  // made of template literals, bos_token, eos_token and known roles only
  };
  std::vector<Segment> segments;

  std::string text() const;
};

/// What a template does with its inputs, found by rendering small probes.
struct ChatTemplateTraits {
  bool uses_tools = false;           // a tool's name reaches the prompt
  bool accepts_system_role = false;  // a system message's content reaches the prompt
  bool shows_tool_calls = false;     // the name in an assistant's tool call reaches the prompt
};

class ChatTemplate {
 public:
  /// Parses `source`; `name` stands in the errors ("template 'x', line 3: ..."). Errors: invalid_argument for syntax,
  /// unsupported for tags such as include, resource_exhausted for what passes the limits.
  static Result<std::unique_ptr<ChatTemplate>> parse(std::string_view source, std::string name,
                                                     RenderLimits limits = {});
  ~ChatTemplate();

  /// Renders a conversation. Thread-safe. Errors: invalid_argument where the template raises (raise_exception or a type
  /// error: the message is its own), resource_exhausted where it runs over the limits.
  Result<RenderedChat> render(const ChatInputs& inputs) const;

  ChatTemplateTraits traits() const;
  /// False: no expression of the template names the variable, so that its value changes nothing.
  bool names(std::string_view variable) const;
  const std::string& name() const { return name_; }

 private:
  ChatTemplate(std::unique_ptr<const jinja::Ast> ast, std::string name, RenderLimits limits);

  std::unique_ptr<const jinja::Ast> ast_;
  std::string name_;
  RenderLimits limits_;
};

/// A template written here, for models that bring none.
struct BuiltinChatTemplate {
  std::string_view name;
  std::string_view source;
};
std::span<const BuiltinChatTemplate> builtin_chat_templates();
/// The source of the built-in template `name`; not_found lists the names there are.
Result<std::string_view> builtin_chat_template(std::string_view name);

}  // namespace sluice
