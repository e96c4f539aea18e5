#include "serve/openai/api_request.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "serve/openai/chat_request.h"

namespace sluice {
namespace {

constexpr char kChat[] = R"("messages": [{"role": "user", "content": "hi"}])";

Result<CompletionRequest> completion(const std::string& fields) {
  return parse_completion_request(Json::parse("{\"prompt\": \"hi\"" + (fields.empty() ? "" : ", " + fields) + "}"), {});
}
Result<ChatRequest> chat(const std::string& fields) {
  return parse_chat_request(Json::parse(std::string("{") + kChat + (fields.empty() ? "" : ", " + fields) + "}"), {});
}

TEST(ApiRequest, ReadsEveryField) {
  const auto r =
      completion(R"("model": "m", "temperature": 0.5, "top_k": 7, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.2,
    "presence_penalty": -1, "frequency_penalty": 2.0, "logit_bias": {"5": -100, "17": 2.5}, "seed": -3, "n": 2, "best_of": 2,
    "max_tokens": 40.0, "min_tokens": 4, "stop": ["a", "b"], "stop_token_ids": [3], "ignore_eos": true, "echo": true,
    "stream": true, "stream_options": {"include_usage": true}, "include_stop_str_in_output": true, "priority": -2,
    "skip_special_tokens": false, "add_special_tokens": false, "parse_special": true, "cache_salt": "s", "user": "u",
    "request_id": "r")");
  ASSERT_TRUE(r.ok()) << r.error().message;
  EXPECT_EQ(r->model, "m");
  EXPECT_FLOAT_EQ(r->sampling.temperature, 0.5f);
  EXPECT_EQ(r->sampling.top_k, 7);
  EXPECT_FLOAT_EQ(r->sampling.top_p, 0.9f);
  EXPECT_FLOAT_EQ(r->sampling.min_p, 0.1f);
  EXPECT_FLOAT_EQ(r->sampling.repetition_penalty, 1.2f);
  EXPECT_FLOAT_EQ(r->sampling.presence_penalty, -1);
  EXPECT_FLOAT_EQ(r->sampling.frequency_penalty, 2);
  ASSERT_EQ(r->sampling.logit_bias.size(), 2u);
  EXPECT_EQ(r->sampling.logit_bias[0], std::make_pair(TokenId{5}, -100.0f));
  EXPECT_EQ(r->seed, -3);
  EXPECT_EQ(r->n, 2);
  EXPECT_EQ(r->max_tokens, 40);
  EXPECT_EQ(r->sampling.min_tokens, 4);
  EXPECT_EQ(r->stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(r->stop_token_ids, (std::vector<TokenId>{3}));
  EXPECT_TRUE(r->ignore_eos && r->echo && r->stream && r->include_usage && r->include_stop_in_output &&
              r->parse_special);
  EXPECT_FALSE(r->skip_special_tokens || r->add_special_tokens);
  EXPECT_EQ(r->priority, -2);
  EXPECT_EQ(r->cache_salt, "s");
  EXPECT_EQ(r->user, "u");
  EXPECT_TRUE(r->warnings.empty());
}

TEST(ApiRequest, BeamsAreBestOfOrN) {
  const auto three = completion(R"("use_beam_search": true, "n": 3, "length_penalty": 0.5)");
  ASSERT_TRUE(three.ok()) << three.error().message;
  EXPECT_EQ(three->beam_width, 3);
  EXPECT_EQ(three->length_penalty, 0.5f);
  const auto best = completion(R"("use_beam_search": true, "n": 2, "best_of": 8)");
  ASSERT_TRUE(best.ok()) << best.error().message;
  EXPECT_EQ(best->beam_width, 8);
  EXPECT_EQ(best->n, 2);
  EXPECT_EQ(completion(R"("n": 2)")->beam_width, 0);
}

TEST(ApiRequest, NullIsAbsentAndNeutralIsFine) {
  for (const char* fields :
       {R"("temperature": null, "stop": null, "n": null, "logprobs": null, "logit_bias": null)",
        R"("suffix": "", "use_beam_search": false, "best_of": 1, "length_penalty": 1.0, "guided_json": null)",
        R"("response_format": {"type": "text"}, "service_tier": "auto", "store": true, "metadata": {"a": 1})",
        R"("top_k": -1, "logprobs": false, "bad_words": [])"}) {
    const auto r = completion(fields);
    ASSERT_TRUE(r.ok()) << r.error().message;
    EXPECT_TRUE(r->warnings.empty()) << warning_text(r->warnings);
    EXPECT_EQ(r->sampling.top_k, 0);
    EXPECT_EQ(r->sampling.logprobs, -1);
  }
}

TEST(ApiRequest, UnknownFieldsAreListed) {
  const auto r = completion(R"("frobnicate": 1, "stream": true, "stream_options": {"odd": 1}, "Temp\n,erature": 2)");
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(warning_text(r->warnings), "stream_options.odd, frobnicate, Temp??erature");
}

struct BadField {
  const char *fields, *param, *mentions;
};

TEST(ApiRequest, ErrorsNameTheField) {
  const BadField cases[] = {
      {R"("temperature": "hot")", "temperature", "\"hot\" (a string); it must be a number"},
      {R"("temperature": -1)", "temperature", "-1 (a number)"},
      {R"("temperature": true)", "temperature", "true (a boolean)"},
      {R"("top_p": 0)", "top_p", "above 0"},
      {R"("top_p": 1.5)", "top_p", "from 0 to 1"},
      {R"("top_k": -2)", "top_k", "-2"},
      {R"("top_k": 1.5)", "top_k", "integer"},
      {R"("top_k": 99999999999999999999)", "top_k", "integer"},
      {R"("repetition_penalty": 0)", "repetition_penalty", "0.001"},
      {R"("presence_penalty": 3)", "presence_penalty", "from -2 to 2"},
      {R"("n": 0)", "n", "from 1 to 128"},
      {R"("n": 1000000)", "n", "from 1 to 128"},
      {R"("n": true)", "n", "true"},
      {R"("best_of": 3)", "best_of", "n is 1"},
      {R"("max_tokens": 0)", "max_tokens", "at least 1"},
      {R"("max_tokens": 3000000000)", "max_tokens", "from 1 to 2147483647"},
      {R"("priority": -3000000000)", "priority", "at least -2147483648"},
      {R"("seed": 9223372036854775808)", "seed", "to 9223372036854775807"},
      {R"("max_tokens": "many")", "max_tokens", "many"},
      {R"("stream": 1)", "stream", "true or false"},
      {R"("stream_options": {"include_usage": true})", "stream_options", "stream is not true"},
      {R"("stream": true, "stream_options": {"include_usage": 3})", "stream_options.include_usage", "true or false"},
      {R"("stop": [1])", "stop[0]", "a string"},
      {R"("stop": {})", "stop", "array of strings"},
      {R"("stop": "")", "stop", "empty"},
      {R"("stop_token_ids": ["x"])", "stop_token_ids[0]", "integer"},
      {R"("logit_bias": {"x": 1})", "logit_bias", "token ids"},
      {R"("logit_bias": {"1": 101})", "logit_bias.1", "from -100 to 100"},
      {R"("logit_bias": [])", "logit_bias", "object"},
      {R"("seed": 1.5)", "seed", "integer"},
      {R"("response_format": {"type": "json_object"})", "response_format", "json_object"},
      {R"("guided_json": {})", "guided_json", "leave it out"},
      {R"("use_beam_search": 1)", "use_beam_search", "true or false"},
      {R"("use_beam_search": true, "n": 4, "best_of": 3)", "best_of", "at most so many"},
      {R"("use_beam_search": true, "n": 4, "stream": true)", "stream", "only at its end"},
      {R"("use_beam_search": true, "stop": "x")", "stop", "stop_token_ids"},
      {R"("use_beam_search": true, "presence_penalty": 1)", "use_beam_search", "no part"},
      {R"("length_penalty": 0.5)", "length_penalty", "use_beam_search"},
      {R"("use_beam_search": true, "length_penalty": 50)", "length_penalty", "from -10 to 10"},
      {R"("cache_salt": "")", "cache_salt", "empty"},
      {R"("service_tier": "flex")", "service_tier", "tiers"},
  };
  for (const BadField& bad : cases) {
    for (const bool is_chat : {false, true}) {
      const Error error = is_chat ? chat(bad.fields).error() : completion(bad.fields).error();
      EXPECT_EQ(error.param, bad.param) << bad.fields << ": " << error.message;
      EXPECT_NE(error.message.find(bad.mentions), std::string::npos) << error.message;
      EXPECT_TRUE(error.code == ErrorCode::invalid_argument || error.code == ErrorCode::unsupported);
    }
  }
  const BadField completions[] = {
      {R"("suffix": "x")", "suffix", "middle"},
      {R"("logprobs": 21)", "logprobs", "from 0 to 20"},
      {R"("logprobs": true)", "logprobs", "integer"},
      {R"("echo": true, "max_tokens": -1)", "max_tokens", "at least 0"},
  };
  for (const BadField& bad : completions) EXPECT_EQ(completion(bad.fields).error().param, bad.param) << bad.fields;
  const BadField chats[] = {
      {R"("tools": {})", "tools", ""},
      {R"("tools": [{"type": "function"}])", "tools[0]", ""},
      {R"("tool_choice": "required")", "tool_choice", ""},
      {R"("tool_choice": {"type": "function", "function": {"name": "f"}})", "tool_choice", ""},
      {R"("logprobs": 3)", "logprobs", ""},
      {R"("top_logprobs": 3)", "top_logprobs", ""},
      {R"("logprobs": true, "top_logprobs": 21)", "top_logprobs", ""},
      {R"("max_tokens": 3, "max_completion_tokens": 4)", "max_completion_tokens", ""},
      {R"("functions": [{}])", "functions", ""},
      {R"("modalities": ["audio"])", "modalities", ""},
      {R"("chat_template": "x")", "chat_template", ""},
      {R"("chat_template_kwargs": {"messages": []})", "chat_template_kwargs", ""},
      {R"("continue_final_message": true, "add_generation_prompt": true)", "continue_final_message", ""},
  };
  for (const BadField& bad : chats) EXPECT_EQ(chat(bad.fields).error().param, bad.param) << bad.fields;
}

TEST(ApiRequest, PromptsOfEveryForm) {
  const auto prompts = [](const char* prompt) {
    return parse_completion_request(Json::parse(std::string("{\"prompt\": ") + prompt + "}"), {});
  };
  EXPECT_EQ(prompts(R"("text")")->prompts, (std::vector<Prompt>{"text"}));
  EXPECT_EQ(prompts(R"(["a", "b"])")->prompts, (std::vector<Prompt>{"a", "b"}));
  EXPECT_EQ(prompts("[1, 2]")->prompts, (std::vector<Prompt>{std::vector<TokenId>{1, 2}}));
  EXPECT_EQ(prompts("[[1], [2, 3]]")->prompts,
            (std::vector<Prompt>{std::vector<TokenId>{1}, std::vector<TokenId>{2, 3}}));
  for (const auto& [bad, param] : std::vector<std::pair<const char*, const char*>>{{"3", "prompt"},
                                                                                   {"[]", "prompt"},
                                                                                   {"{}", "prompt"},
                                                                                   {"null", "prompt"},
                                                                                   {"[\"a\", 1]", "prompt[1]"},
                                                                                   {"[1, \"a\"]", "prompt[1]"},
                                                                                   {"[1, -1]", "prompt[1]"},
                                                                                   {"[1, 2.5]", "prompt[1]"},
                                                                                   {"[[1], 2]", "prompt[1]"},
                                                                                   {"[[1], [\"x\"]]", "prompt[1][0]"},
                                                                                   {"[null]", "prompt[0]"},
                                                                                   {"[1, 99999999999]", "prompt[1]"}})
    EXPECT_EQ(prompts(bad).error().param, param) << bad;
  EXPECT_FALSE(parse_completion_request(Json::parse("[]"), {}).ok());
}

TEST(ApiRequest, DefaultsComeFromTheModel) {
  SamplingParams defaults;
  defaults.temperature = 0.6f;
  defaults.top_k = 20;
  const auto r = parse_completion_request(Json::parse(R"({"prompt": "x", "top_k": 0})"), defaults);
  EXPECT_FLOAT_EQ(r->sampling.temperature, 0.6f);
  EXPECT_EQ(r->sampling.top_k, 0);
}

TEST(ChatRequest, NormalisesMessages) {
  const auto r = parse_chat_request(Json::parse(R"({"messages": [
      {"role": "developer", "content": "be brief"},
      {"role": "user", "name": "ann", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
      {"role": "assistant", "content": null, "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"x\": [1]}"}}]},
      {"role": "tool", "tool_call_id": "c", "content": "3", "odd": 1}],
    "tools": [{"type": "function", "function": {"name": "f"}}], "reasoning_effort": "low",
    "chat_template_kwargs": {"enable_thinking": false}, "max_completion_tokens": 9, "logprobs": true, "top_logprobs": 2})"),
                                    {});
  ASSERT_TRUE(r.ok()) << r.error().message;
  EXPECT_EQ((*r->messages)[0]["role"], "system");
  EXPECT_EQ((*r->messages)[1]["content"], "one\ntwo");
  EXPECT_EQ((*r->messages)[1]["name"], "ann");
  EXPECT_EQ((*r->messages)[2]["content"], "");
  EXPECT_EQ((*r->messages)[2]["tool_calls"][0]["function"]["arguments"]["x"][0], 1);
  EXPECT_EQ((*r->tools)[0]["function"]["name"], "f");
  EXPECT_EQ((*r->template_kwargs)["reasoning_effort"], "low");
  EXPECT_EQ((*r->template_kwargs)["enable_thinking"], false);
  EXPECT_EQ(r->max_tokens, 9);
  EXPECT_EQ(r->sampling.logprobs, 2);
  EXPECT_EQ(warning_text(r->warnings), "messages[3].odd");
}

TEST(ChatRequest, ToolChoiceNoneLeavesToolsOut) {
  const auto r = chat(R"("tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "none")");
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->tools, nullptr);
  EXPECT_TRUE(r->warnings.empty());
}

TEST(ChatRequest, BadMessagesAreNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {"3", "messages"},
      {"[]", "messages"},
      {"null", "messages"},
      {"[1]", "messages[0]"},
      {R"([{"content": "x"}])", "messages[0].role"},
      {R"([{"role": 1, "content": "x"}])", "messages[0].role"},
      {R"([{"role": "robot", "content": "x"}])", "messages[0].role"},
      {R"([{"role": "user"}])", "messages[0].content"},
      {R"([{"role": "user", "content": null}])", "messages[0].content"},
      {R"([{"role": "user", "content": 5}])", "messages[0].content"},
      {R"([{"role": "user", "content": ["x"]}])", "messages[0].content[0]"},
      {R"([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}]}])",
       "messages[0].content[1].type"},
      {R"([{"role": "user", "content": [{"type": "input_audio"}]}])", "messages[0].content[0].type"},
      {R"([{"role": "user", "content": [{"type": "text"}]}])", "messages[0].content[0].text"},
      {R"([{"role": "user", "content": "x", "audio": {"id": "a"}}])", "messages[0].audio"},
      {R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]}])",
       "messages[0].tool_calls[0].function.arguments"},
      {R"([{"role": "assistant", "tool_calls": [{"function": {}}]}])", "messages[0].tool_calls[0]"},
      {R"([{"role": "assistant", "tool_calls": 3}])", "messages[0].tool_calls"},
  };
  for (const auto& [messages, param] : cases) {
    const auto r = parse_chat_request(Json::parse(std::string("{\"messages\": ") + messages + "}"), {});
    ASSERT_FALSE(r.ok()) << messages;
    EXPECT_EQ(r.error().param, param) << messages << ": " << r.error().message;
  }
}

}  // namespace
}  // namespace sluice
