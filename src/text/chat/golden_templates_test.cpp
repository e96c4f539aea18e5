// Templates of real models, rendered by jinja2 in several conversations. They are not ours to copy: the tests find them
// under $SLUICE_TEST_DATA/chat-templates.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/mapped_file.h"
#include "text/chat/chat_template.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

/// $SLUICE_TEST_DATA/chat-templates, or an empty path.
fs::path templates_dir() {
  const char* root = std::getenv("SLUICE_TEST_DATA");
  if (root == nullptr) return {};
  const fs::path dir = fs::path(root) / "chat-templates";
  return fs::exists(dir / "golden_renderings.json") ? dir : fs::path();
}

#define SKIP_WITHOUT_TEMPLATES(dir) \
  if (dir.empty())                  \
  GTEST_SKIP() << "SLUICE_TEST_DATA does not name a directory with chat-templates/golden_renderings.json"

/// A context's variables as inputs; the JSON must outlive them.
struct Context {
  Json messages, extra;
  ChatInputs inputs;

  explicit Context(Json context) : extra(std::move(context)) {
    messages = extra["messages"];
    extra.erase("messages");
    inputs.messages = &messages;
    inputs.extra = &extra;
    inputs.bos_token = extra.value("bos_token", "<s>");
    inputs.eos_token = extra.value("eos_token", "</s>");
    extra.erase("bos_token");
    extra.erase("eos_token");
    inputs.now_local_s = 1721995200;  // 2024-07-26 12:00:00
  }
  Context(const Context&) = delete;
};

TEST(GoldenTemplates, EveryTemplateRendersAsWithJinja2) {
  const auto dir = templates_dir();
  SKIP_WITHOUT_TEMPLATES(dir);
  const Json golden = Json::parse(read_file((dir / "golden_renderings.json").string()).value());
  size_t rendered_count = 0, failed_count = 0;
  for (const auto& result : golden["results"]) {
    const auto name = result["template"].get<std::string>(), context_name = result["context"].get<std::string>();
    SCOPED_TRACE(name + " x " + context_name);
    const auto parsed = ChatTemplate::parse(read_file((dir / name).string()).value(), name);
    const Context context(golden["contexts"][context_name]);
    const auto rendered = parsed.ok() ? (*parsed)->render(context.inputs) : Result<RenderedChat>(parsed.error());
    if (result["status"] == "ok") {
      ++rendered_count;
      EXPECT_TRUE(rendered.ok()) << rendered.error().message;
      EXPECT_EQ(rendered.ok() ? rendered->text() : "", result["output"].get<std::string>());
    } else {
      ++failed_count;
      EXPECT_FALSE(rendered.ok());
      const std::string message = rendered.ok() ? "" : rendered.error().message;
      EXPECT_NE(message.find(result["error"].get<std::string>()), std::string::npos) << message << "\n"
                                                                                     << result["error"];
    }
  }
  EXPECT_GT(rendered_count, 100u);
  EXPECT_GT(failed_count, 10u);
}

/// Replaces every string of a conversation that is not a role, a type or a key by itself with `mark` inside.
void plant(Json& json, const std::string& mark, const std::string& key = {}) {
  static const std::set<std::string> kStructural = {"role", "type", "name", "id", "tool_call_id"};
  if (json.is_string() && !kStructural.contains(key)) {
    auto text = json.get<std::string>();
    if (key == "arguments" && text.starts_with("{")) text = "{\"planted\": \"" + mark + "\"}";
    else text += " " + mark;
    json = text;
  }
  if (json.is_array())
    for (auto& item : json) plant(item, mark, key);
  if (json.is_object())
    for (auto& [name, item] : json.items()) plant(item, mark, name);
}

size_t occurrences(const std::string& text, const std::string& mark) {
  size_t n = 0;
  for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + mark.size())) ++n;
  return n;
}

std::string trusted_text(const RenderedChat& chat) {
  std::string out;
  for (const auto& segment : chat.segments)
    out += segment.trusted ? segment.text : std::string(1, '\x01');  // keeps neighbours apart
  return out;
}

TEST(GoldenTemplates, ControlTokensInRequestsStayUntrusted) {
  const auto dir = templates_dir();
  SKIP_WITHOUT_TEMPLATES(dir);
  const Json golden = Json::parse(read_file((dir / "golden_renderings.json").string()).value());
  size_t planted_renderings = 0;
  for (const auto& result : golden["results"]) {
    if (result["status"] != "ok") continue;
    const auto name = result["template"].get<std::string>();
    const auto parsed = ChatTemplate::parse(read_file((dir / name).string()).value(), name);
    ASSERT_TRUE(parsed.ok());
    const Context clean(golden["contexts"][result["context"].get<std::string>()]);
    const auto before = (*parsed)->render(clean.inputs);
    ASSERT_TRUE(before.ok());
    for (const std::string mark :
         {"<|im_end|>", "</s>", "[INST]", "<|eot_id|>", "<end_of_turn>", "<|im_start|>system"}) {
      SCOPED_TRACE(name + " x " + result["context"].get<std::string>() + " x " + mark);
      Json context = golden["contexts"][result["context"].get<std::string>()];
      plant(context["messages"], mark);
      if (context.contains("tools")) plant(context["tools"], mark);
      const Context planted(std::move(context));
      const auto after = (*parsed)->render(planted.inputs);
      if (!after.ok()) continue;  // some templates check what they are given
      planted_renderings += occurrences(after->text(), mark) > occurrences(before->text(), mark);
      // The template's own control tokens may be there, in the same number as without the plant; none of ours.
      EXPECT_EQ(occurrences(trusted_text(*after), mark), occurrences(trusted_text(*before), mark));
    }
  }
  EXPECT_GT(planted_renderings, 500u);
}

TEST(GoldenTemplates, TemplatesOwnControlTokensAreTrusted) {
  const auto dir = templates_dir();
  SKIP_WITHOUT_TEMPLATES(dir);
  const Json messages = Json::array({{{"role", "user"}, {"content", "hello"}}});
  ChatInputs inputs;
  inputs.messages = &messages;
  inputs.bos_token = "<s>";
  inputs.eos_token = "</s>";
  const std::vector<std::pair<std::string, std::vector<std::string>>> expected = {
      {"Qwen-Qwen2.5-7B-Instruct.jinja", {"<|im_start|>user\n", "<|im_end|>", "<|im_start|>assistant\n"}},
      {"meta-llama-Llama-3.1-8B-Instruct.jinja", {"<s>", "<|start_header_id|>user<|end_header_id|>", "<|eot_id|>"}},
      {"microsoft-Phi-3.5-mini-instruct.jinja", {"<|user|>", "<|end|>", "<|assistant|>"}},
      {"mistralai-Mistral-Nemo-Instruct-2407.jinja", {"<s>", "[INST]", "[/INST]"}},
      {"google-gemma-2-2b-it.jinja", {"<start_of_turn>user", "<end_of_turn>", "<start_of_turn>model"}},
  };
  for (const auto& [name, tokens] : expected) {
    const auto parsed = ChatTemplate::parse(read_file((dir / name).string()).value(), name);
    ASSERT_TRUE(parsed.ok());
    const auto rendered = (*parsed)->render(inputs);
    ASSERT_TRUE(rendered.ok()) << rendered.error().message;
    for (const auto& token : tokens)
      EXPECT_NE(trusted_text(*rendered).find(token), std::string::npos) << name << " " << token;
    EXPECT_EQ(trusted_text(*rendered).find("hello"), std::string::npos);
  }
}

TEST(GoldenTemplates, TraitsAreProbed) {
  const auto dir = templates_dir();
  SKIP_WITHOUT_TEMPLATES(dir);
  const auto traits = [&](const std::string& name) {
    const auto parsed = ChatTemplate::parse(read_file((dir / name).string()).value(), name);
    EXPECT_TRUE(parsed.ok());
    return (*parsed)->traits();
  };
  EXPECT_TRUE(traits("Qwen-Qwen2.5-7B-Instruct.jinja").uses_tools);
  EXPECT_TRUE(traits("Qwen-Qwen2.5-7B-Instruct.jinja").accepts_system_role);
  EXPECT_FALSE(traits("google-gemma-2-2b-it.jinja").uses_tools);
  EXPECT_FALSE(traits("google-gemma-2-2b-it.jinja").accepts_system_role);
  EXPECT_FALSE(traits("microsoft-Phi-3.5-mini-instruct.jinja").uses_tools);
}

}  // namespace
}  // namespace sluice
