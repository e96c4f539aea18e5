// Chat templates for models that bring none, written from the published prompt formats.
#include <array>

#include "text/chat/chat_template.h"

namespace sluice {
namespace {

constexpr std::string_view kChatMl = R"jinja(
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\n' + (message.content or '') + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\n' }}
{%- endif %}
)jinja";

// The system message is part of the first user turn.
constexpr std::string_view kLlama2 = R"jinja(
{%- set system = '' %}
{%- set turns = messages %}
{%- if messages and messages[0].role == 'system' %}
{%- set system = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}
{%- set turns = messages[1:] %}
{%- endif %}
{%- for message in turns %}
{%- if message.role != ('user' if loop.index0 is even else 'assistant') %}
{{- raise_exception('after an optional system message, the roles must alternate between user and assistant') }}
{%- endif %}
{%- if message.role == 'user' %}
{{- bos_token + '[INST] ' + (system if loop.first else '') + (message.content | trim) + ' [/INST]' }}
{%- else %}
{{- ' ' + ((message.content or '') | trim) + ' ' + eos_token }}
{%- endif %}
{%- endfor %}
)jinja";

constexpr std::string_view kLlama3 = R"jinja(
{{- bos_token }}
{%- for message in messages %}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + ((message.content or '') | trim) + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
)jinja";

constexpr std::array<BuiltinChatTemplate, 3> kBuiltins = {{
    {"chatml", kChatMl},
    {"llama2", kLlama2},
    {"llama3", kLlama3},
}};

}  // namespace

std::span<const BuiltinChatTemplate> builtin_chat_templates() { return kBuiltins; }

Result<std::string_view> builtin_chat_template(std::string_view name) {
  std::string names;
  for (const auto& builtin : kBuiltins) {
    if (builtin.name == name) return builtin.source;
    names += names.empty() ? "" : ", ";
    names += builtin.name;
  }
  return not_found(fmt::format("no built-in chat template '{}'; there are {}", name, names));
}

}  // namespace sluice
