// Chats of a model whose replies are in the harmony format: its reasoning, its content and its calls come apart, whole
// and streamed alike. The toy model says a script; its sentencepiece puts a space before the text behind a control token.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "serve/openai/harmony_tokens.h"
#include "tests/support/api_calls.h"

namespace sluice {
namespace {

using test::chat;
using test::stream;
using test::ToyServer;
using test::ToyServerOptions;

constexpr char kHarmonyTemplate[] =
    "{% for m in messages %}{{ '<|start|>' + m.role }}{% if m.thinking %}[{{ m.thinking }}]{% endif %}"
    "{{ '<|message|>' + m.content + '<|end|>' }}{% endfor %}"
    "{% if tools %}{{ tools[0].function.name }}{% endif %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}";
constexpr TokenId kFirstMark = 512;  // behind the tokens of tok512

/// The toy tokenizer with harmony's control tokens.
class HarmonyServer : public ::testing::Test {
 protected:
  HarmonyServer() {
    dir_ = std::filesystem::temp_directory_path() / fmt::format("sluice-harmony-{}", ::getpid());
    std::filesystem::create_directories(dir_);
    std::filesystem::copy_file(SLUICE_SOURCE_DIR "/tests/data/tokenizers/tok512/tokenizer.model",
                               dir_ / "tokenizer.model", std::filesystem::copy_options::overwrite_existing);
    Json added = Json::object();
    for (size_t i = 0; i < std::size(kHarmonyMarks); ++i)
      added[std::to_string(kFirstMark + static_cast<TokenId>(i))] = {{"content", harmony_spelling(kHarmonyMarks[i])},
                                                                     {"special", true}};
    std::ofstream(dir_ / "tokenizer_config.json") << Json{{"added_tokens_decoder", added}};
    tokenizer_ = load_tokenizer_directory(dir_.string()).value();
  }
  ~HarmonyServer() override { std::filesystem::remove_all(dir_); }

  /// A server whose model says `reply`.
  std::unique_ptr<ToyServer> saying(const std::string& reply) const {
    ToyServerOptions options;
    options.tokenizer_dir = dir_.string();
    options.chat_template = kHarmonyTemplate;
    options.script = tokenizer_->encode(reply, {false, true});
    return std::make_unique<ToyServer>(options);
  }

  std::filesystem::path dir_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

/// The message and the finish_reason that a stream's chunks add up to.
std::pair<Json, Json> assembled(const std::vector<Json>& events) {
  Json message = {{"role", "assistant"}, {"content", ""}, {"refusal", nullptr}}, finish;
  for (const Json& event : events) {
    const Json& choice = event["choices"][0];
    if (!choice["finish_reason"].is_null()) finish = choice["finish_reason"];
    const Json& delta = choice["delta"];
    for (const char* name : {"content", "reasoning_content"})
      if (delta.contains(name)) message[name] = message.value(name, std::string()) + delta[name].get<std::string>();
    if (!delta.contains("tool_calls")) continue;
    for (const Json& piece : delta["tool_calls"]) {
      Json& calls = message["tool_calls"];
      const size_t index = piece["index"];
      if (calls.size() <= index) {
        EXPECT_TRUE(piece.contains("id")) << piece;
        calls.push_back({{"id", ""},
                         {"type", piece["type"]},
                         {"function", {{"name", piece["function"]["name"]}, {"arguments", ""}}}});
      }
      Json& arguments = calls[index]["function"]["arguments"];
      arguments = arguments.get<std::string>() + piece["function"]["arguments"].get<std::string>();
    }
  }
  if (message.contains("tool_calls") && message["content"] == "") message["content"] = nullptr;
  return {message, finish};
}

TEST_F(HarmonyServer, PartsRepliesWholeAndStreamed) {
  struct Case {
    const char* reply;
    Json parts;
    const char* finish;
  };
  const Json call = {{"id", ""}, {"type", "function"}, {"function", {{"name", "look"}, {"arguments", " {\"q\": 1}"}}}};
  const std::vector<Case> cases = {
      {"<|channel|>analysis<|message|>so so<|end|><|start|>assistant<|channel|>final<|message|>Once upon<|return|>",
       {{"reasoning_content", " so so"}, {"content", " Once upon"}},
       "stop"},
      {"<|channel|>final<|message|>Once<|return|>", {{"content", " Once"}}, "stop"},
      {"<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.look "
       "<|constrain|>json<|message|>{\"q\": 1}<|call|>",
       {{"reasoning_content", " hm"}, {"content", nullptr}, {"tool_calls", Json::array({call})}},
       "tool_calls"},
  };
  const Json tools = Json::parse(R"([{"type": "function", "function": {"name": "look"}}])");
  for (const Case& c : cases) {
    SCOPED_TRACE(c.reply);
    const auto server = saying(c.reply);
    Json body = {{"max_tokens", 120}, {"tools", tools}};
    Json answer = chat(*server, body);
    Json expected = {{"role", "assistant"}, {"content", ""}, {"refusal", nullptr}};
    expected.update(c.parts);
    Json message = answer["choices"][0]["message"];
    EXPECT_EQ(answer["choices"][0]["finish_reason"], c.finish);
    if (message.contains("tool_calls")) {
      EXPECT_TRUE(message["tool_calls"][0]["id"].get<std::string>().starts_with("call-"));
      message["tool_calls"][0]["id"] = "";
    }
    EXPECT_EQ(nlohmann::json(message), nlohmann::json(expected));
    body["messages"] = Json::parse(R"([{"role": "user", "content": "hello"}])");
    const auto [streamed, finish] = assembled(stream(*server, "/v1/chat/completions", body));
    EXPECT_EQ(nlohmann::json(streamed), nlohmann::json(expected));
    EXPECT_EQ(finish, c.finish);
  }
}

TEST_F(HarmonyServer, StopStringsAreLookedForInTheContent) {
  const auto server = saying(
      "<|channel|>analysis<|message|>one two<|end|><|start|>assistant<|channel|>final<|message|>one two<|return|>");
  const Json choice = chat(*server, {{"max_tokens", 120}, {"stop", {" two"}}})["choices"][0];
  EXPECT_EQ(choice["message"]["reasoning_content"], " one two");
  EXPECT_EQ(choice["message"]["content"], " one");
  EXPECT_EQ(choice["stop_reason"], " two");
}

TEST_F(HarmonyServer, TheReplyAsWrittenAndTheContinuedOne) {
  const auto server = saying("<|channel|>final<|message|>Once<|return|>");
  const Json raw = chat(*server, {{"max_tokens", 120}, {"skip_special_tokens", false}});
  EXPECT_EQ(raw["choices"][0]["message"]["content"], "<|channel|> final<|message|> Once");
  const auto going_on = saying(" a time<|return|>");
  const Json continued = chat(*going_on, {{"max_tokens", 120},
                                          {"continue_final_message", true},
                                          {"messages", Json::parse(R"([{"role": "user", "content": "Tell"},
                                             {"role": "assistant", "content": "Once upon"}])")}});
  EXPECT_EQ(continued["choices"][0]["message"]["content"], " a time");
}

TEST_F(HarmonyServer, ReasoningGoesBackAsTheTemplateReadsIt) {
  const auto parsed = ChatTemplate::parse(kHarmonyTemplate, "test");
  ASSERT_TRUE(parsed.ok());
  const ChatPrompt prompt(parsed->get(), *tokenizer_);
  ASSERT_NE(prompt.harmony(), nullptr);
  const auto request = parse_chat_request(Json::parse(R"({"messages": [{"role": "user", "content": "x"},
    {"role": "assistant", "reasoning_content": "r", "content": "c"},
    {"role": "assistant", "reasoning_content": "r", "content": "c", "tool_calls":
      [{"function": {"name": "f", "arguments": "{}"}}]}]})"), {});
  ASSERT_TRUE(request.ok()) << request.error().message;
  const auto rendered = prompt.render(*request);
  ASSERT_TRUE(rendered.ok()) << rendered.error().message;
  std::string text;
  for (const TextSegment& segment : *rendered) text += segment.text;
  EXPECT_EQ(text, "<|start|>user<|message|>x<|end|><|start|>assistant[r]<|message|>c<|end|>"
                  "<|start|>assistant[r\nc]<|message|><|end|><|start|>assistant");
}

TEST_F(HarmonyServer, OtherModelsAreNotTakenForHarmony) {
  const auto other = ChatTemplate::parse("{{ messages[0].content }}<|im_start|>assistant\n", "test");
  const auto harmony = ChatTemplate::parse(kHarmonyTemplate, "test");
  const auto without = load_tokenizer_directory(SLUICE_SOURCE_DIR "/tests/data/tokenizers/tok512").value();
  EXPECT_EQ(find_harmony_tokens(other->get(), *tokenizer_), nullptr);
  EXPECT_EQ(find_harmony_tokens(harmony->get(), *without), nullptr);
  EXPECT_EQ(find_harmony_tokens(nullptr, *tokenizer_), nullptr);
  const auto found = find_harmony_tokens(harmony->get(), *tokenizer_);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->at(kFirstMark), HarmonyMark::start);
}

}  // namespace
}  // namespace sluice
