// gpt-oss: its template against the renderings of openai/harmony, and the reading of its replies. The texts are under
// $SLUICE_TEST_DATA/chat-templates/harmony-golden; the conversations that make them are here.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/mapped_file.h"
#include "text/chat/chat_template.h"
#include "text/chat/harmony_reply.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

/// $SLUICE_TEST_DATA, or an empty path where it lacks the texts.
fs::path data_dir() {
  const char* root = std::getenv("SLUICE_TEST_DATA");
  return root != nullptr && fs::exists(fs::path(root) / "chat-templates/harmony-golden") ? root : "";
}
#define SKIP_WITHOUT_DATA(dir) \
  if (dir.empty()) GTEST_SKIP() << "SLUICE_TEST_DATA does not name a directory with chat-templates/harmony-golden"

/// A text of the directory, without the newline that its file ends with.
std::string golden(const fs::path& data, const std::string& name) {
  std::string text = read_file((data / "chat-templates/harmony-golden" / (name + ".txt")).string()).value();
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

/// How far the template can say what harmony's own renderer says.
enum class Match {
  whole,
  without_date,         // the template always writes "Current date", harmony where it is given
  after_system_message  // the template always writes a system message
};
struct Conversation {
  const char* golden;
  Match match;
  const char* messages;
  const char* variables;
};
// Without a system message nothing but the user's would stand first; an empty one renders as nothing.
constexpr char kNobody[] = R"([{"role": "system", "content": ""}])";
constexpr char kCapital[] =
    R"([{"role": "user", "content": "What is the capital of the largest country in the world?"}])";
constexpr char kWeather[] = R"({"builtin_tools": ["browser"], "tools": [{"type": "function", "function":
    {"name": "lookup_weather", "description": "Use this tool to lookup the weather in a given location. Call it with the parameter 'location', can be any textual description of a location.",
     "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}}}]})";
const std::vector<Conversation> kConversations = {
    {"test_no_tools", Match::whole, kNobody, "{}"},
    {"test_browser_tool_only", Match::whole, kNobody, R"({"builtin_tools": ["browser"]})"},
    {"test_browser_and_python_tool", Match::whole, kNobody, R"({"builtin_tools": ["browser", "python"]})"},
    {"test_browser_and_function_tool", Match::whole, kNobody, kWeather},
    {"test_simple_convo", Match::without_date, R"([{"role": "user", "content": "What is 2 + 2?"}])", "{}"},
    {"test_simple_convo_low_effort_no_instruction", Match::without_date, kCapital, R"({"reasoning_effort": "low"})"},
    {"test_simple_convo_medium_effort_no_instruction", Match::without_date, kCapital, "{}"},
    {"test_simple_convo_high_effort_no_instruction", Match::without_date, kCapital, R"({"reasoning_effort": "high"})"},
    {"test_dropping_cot_by_default", Match::after_system_message,
     R"([{"role": "user", "content": "What is 2 + 2?"},
         {"role": "assistant", "thinking": "User asks a simple question: \"What is 2 + 2?\" The answer: 4.",
          "content": "2 + 2 equals 4."},
         {"role": "user", "content": "What about 9 / 2?"}])",
     "{}"},
};

TEST(Harmony, TheTemplateOfGptOssRendersHarmony) {
  const fs::path data = data_dir();
  SKIP_WITHOUT_DATA(data);
  const auto parsed = ChatTemplate::parse(read_file((data / "chat-templates/openai-gpt-oss-120b.jinja").string()).value(), "gpt-oss");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  for (const Conversation& conversation : kConversations) {
    SCOPED_TRACE(conversation.golden);
    const Json messages = Json::parse(conversation.messages), variables = Json::parse(conversation.variables);
    ChatInputs inputs;
    inputs.messages = &messages;
    inputs.extra = &variables;
    inputs.now_local_s = 1751112000;  // 2025-06-28, noon
    const auto rendered = (*parsed)->render(inputs);
    ASSERT_TRUE(rendered.ok()) << rendered.error().message;
    std::string text = rendered->text();
    if (conversation.match == Match::without_date) {
      const std::string date = "Current date: 2025-06-28\n";
      ASSERT_NE(text.find(date), std::string::npos);
      text.erase(text.find(date), date.size());
    } else if (conversation.match == Match::after_system_message) {
      ASSERT_NE(text.find("<|end|>"), std::string::npos);
      text.erase(0, text.find("<|end|>") + 7);
    }
    EXPECT_EQ(text, golden(data, conversation.golden));
  }
}

/// What the pieces of a reply add up to.
struct Read {
  std::string reasoning, content;
  std::vector<std::pair<std::string, std::string>> calls;

  void take(HarmonyReply& reply) {
    reasoning += reply.take_reasoning();
    content += reply.take_content();
    for (const HarmonyReply::CallPiece& piece : reply.take_calls()) {
      if (static_cast<size_t>(piece.index) == calls.size()) calls.emplace_back(piece.name, "");
      else EXPECT_TRUE(piece.name.empty());
      calls.at(static_cast<size_t>(piece.index)).second += piece.arguments;
    }
  }
  bool operator==(const Read&) const = default;
};

/// Reads a reply whose control tokens are spelled out, its text cut every `cut` bytes.
Read read(std::string_view reply, size_t cut = 1000, HarmonyReply::Begins begins = HarmonyReply::Begins::in_header) {
  HarmonyReply reader(begins);
  Read out;
  std::string_view held;
  const auto flush = [&] {
    for (; !held.empty(); held.remove_prefix(std::min(cut, held.size()))) {
      reader.text(held.substr(0, cut));
      out.take(reader);
    }
  };
  size_t begin = 0;
  for (size_t i = 0; i < reply.size();) {
    std::optional<HarmonyMark> mark;
    for (const HarmonyMark m : kHarmonyMarks)
      if (reply.substr(i).starts_with(harmony_spelling(m))) mark = m;
    if (!mark) {
      ++i;
      continue;
    }
    held = reply.substr(begin, i - begin);
    flush();
    reader.mark(*mark);
    i += harmony_spelling(*mark).size();
    begin = i;
  }
  held = reply.substr(begin);
  flush();
  reader.finish();
  out.take(reader);
  return out;
}

TEST(Harmony, RepliesArePartedByChannel) {
  const std::vector<std::pair<std::string, Read>> cases = {
      {"<|channel|>final<|message|>Hi.<|return|>", {"", "Hi.", {}}},
      {"<|channel|>analysis<|message|>Hm\n.<|end|><|start|>assistant<|channel|>final<|message|>4<|return|>",
       {"Hm\n.", "4", {}}},
      {"<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>I look.<|end|>"
       "<|start|>assistant<|channel|>analysis<|message|>b<|end|>"
       "<|start|>assistant<|channel|>commentary to=functions.look <|constrain|>json<|message|>{\"q\": 1}<|call|>",
       {"a\nb", "I look.", {{"look", "{\"q\": 1}"}}}},
      {" to=functions.f<|channel|>commentary json<|message|>{}<|call|><|start|>assistant to=functions.g"
       "<|channel|>commentary<|message|>{\"a\": []}<|call|>",
       {"", "", {{"f", "{}"}, {"g", "{\"a\": []}"}}}},
      {"<|channel|>commentary to=functions.f<|message|><|call|>", {"", "", {{"f", ""}}}},
      {"<|channel|>analysis to=python code<|message|>1+1<|call|>", {"", "", {{"python", "1+1"}}}},
      // Cut short, or not in the format.
      {"<|channel|>analysis<|message|>never ends", {"never ends", "", {}}},
      {"<|channel|>ana", {"", "", {}}},
      {"Hello there", {"", "Hello there", {}}},
      {"<|message|>Hello<|end|><|channel|>final<|message|>there", {"", "Hello\nthere", {}}},
      {"<|channel|>final<|message|>a<|end|><|start|>user<|message|>b<|end|>", {"", "a", {}}},
      {"<|end|>x<|call|><|constrain|>y", {"", "", {}}},
      {"", {"", "", {}}},
  };
  for (const auto& [reply, expected] : cases)
    for (const size_t cut : {1u, 3u, 1000u}) EXPECT_EQ(read(reply, cut), expected) << reply << " cut every " << cut;
  EXPECT_EQ(read("in a time.<|return|>", 2, HarmonyReply::Begins::in_final), (Read{"", "in a time.", {}}));
}

TEST(Harmony, ReadsTheGoldenReplies) {
  const fs::path data = data_dir();
  SKIP_WITHOUT_DATA(data);
  const Read browsed = read(golden(data, "test_streamable_parser"), 7);
  EXPECT_TRUE(browsed.reasoning.starts_with("User asks \"Who is the current US president?\""));
  EXPECT_TRUE(browsed.reasoning.ends_with("Let's browse to confirm."));
  EXPECT_EQ(browsed.content, "");
  const std::vector<std::pair<std::string, std::string>> search = {
      {"browser.search", R"({"query": "current US president July 2025", "topn": 10, "source": "news"})"}};
  EXPECT_EQ(browsed.calls, search);
}

int base64_digit(char c) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  return static_cast<int>(kDigits.find(c));
}

TEST(Harmony, ReadsTheGoldenTokens) {
  const fs::path data = data_dir();
  SKIP_WITHOUT_DATA(data);
  std::ifstream vocabulary(data / "tokenizers/tiktoken/o200k_base.tiktoken");
  if (!vocabulary) GTEST_SKIP() << "SLUICE_TEST_DATA has no tokenizers/tiktoken/o200k_base.tiktoken";
  std::map<int, std::string> bytes;
  std::string coded;
  for (int id = 0; vocabulary >> coded >> id;) bytes[id] = coded;
  const std::map<int, HarmonyMark> marks = {{200002, HarmonyMark::ret},     {200003, HarmonyMark::constrain},
                                            {200005, HarmonyMark::channel}, {200006, HarmonyMark::start},
                                            {200007, HarmonyMark::end},     {200008, HarmonyMark::message},
                                            {200012, HarmonyMark::call}};
  const auto read_tokens = [&](const std::string& name) {
    std::istringstream ids(golden(data, name));
    HarmonyReply reader;
    Read out;
    for (int id = 0; ids >> id; out.take(reader)) {
      if (const auto it = marks.find(id); it != marks.end()) {
        reader.mark(it->second);
        continue;
      }
      std::string piece;
      unsigned bits = 0;
      int have = 0;
      for (const char c : bytes.at(id)) {
        if (c == '=') break;
        bits = bits << 6 | static_cast<unsigned>(base64_digit(c));
        if ((have += 6) >= 8) piece += static_cast<char>(bits >> (have -= 8) & 0xff);
      }
      reader.text(piece);
    }
    reader.finish();
    out.take(reader);
    return out;
  };
  EXPECT_EQ(read_tokens("test_simple_reasoning_response"),
            (Read{"User asks: \"What is 2 + 2?\" Simple arithmetic. Provide answer.", "2 + 2 = 4.", {}}));
  const Read call = read_tokens("test_simple_tool_call");
  EXPECT_EQ(call.content, "");
  EXPECT_TRUE(call.reasoning.starts_with("User asks: \"What is the weather in Tokyo?\"")) << call.reasoning;
  const std::vector<std::pair<std::string, std::string>> lookup = {{"lookup_weather", R"({"location": "Tokyo"})"}};
  EXPECT_EQ(call.calls, lookup);
}

}  // namespace
}  // namespace sluice
