// What the two endpoints that generate answer, whole and streamed, over real sockets around a toy model.

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "tests/support/api_calls.h"

namespace sluice {
namespace {

using test::chat;
using test::complete;
using test::HttpAnswer;
using test::stream;
using test::ToyServer;
using test::ToyServerOptions;

TEST(ApiServer, Completes) {
  ToyServer server;
  const Json body = {{"model", "toy"}, {"prompt", "Once upon"}, {"max_tokens", 12}};
  const Json answer = complete(server, body);
  EXPECT_EQ(answer["object"], "text_completion");
  EXPECT_TRUE(answer["id"].get<std::string>().starts_with("cmpl-"));
  EXPECT_EQ(answer["model"], "toy");
  ASSERT_EQ(answer["choices"].size(), 1u);
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
  EXPECT_TRUE(answer["choices"][0]["stop_reason"].is_null());
  EXPECT_TRUE(answer["choices"][0]["logprobs"].is_null());
  const auto prompt = server.tokenizer->encode("Once upon");
  EXPECT_EQ(answer["usage"]["prompt_tokens"], prompt.size());
  EXPECT_EQ(answer["usage"]["completion_tokens"], 12);
  EXPECT_EQ(answer["usage"]["total_tokens"], prompt.size() + 12);
  EXPECT_EQ(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
  // The same again: the same text, from the cache.
  const Json again = complete(server, body);
  EXPECT_EQ(again["choices"][0]["text"], answer["choices"][0]["text"]);
  EXPECT_EQ(again["usage"]["prompt_tokens_details"]["cached_tokens"], (prompt.size() - 1) / 4 * 4);
  // Another salt shares nothing.
  Json salted = body;
  salted["cache_salt"] = "tenant";
  EXPECT_EQ(complete(server, salted)["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
  EXPECT_EQ(complete(server, {{"prompt", prompt}, {"max_tokens", 12}})["choices"][0]["text"],
            answer["choices"][0]["text"]);
  EXPECT_EQ(complete(server, {{"prompt", "Once upon"}})["usage"]["completion_tokens"], 16);
  const Json echoed = complete(server, {{"prompt", "Once upon"}, {"max_tokens", 12}, {"echo", true}});
  EXPECT_EQ(echoed["choices"][0]["text"], "Once upon" + answer["choices"][0]["text"].get<std::string>());
}

TEST(ApiServer, ManyPromptsAndSamples) {
  ToyServer server;
  const Json answer = complete(server, {{"prompt", {"one", "two", "three"}}, {"n", 2}, {"max_tokens", 5}});
  ASSERT_EQ(answer["choices"].size(), 6u);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(answer["choices"][i]["index"], i);
  EXPECT_EQ(answer["usage"]["completion_tokens"], 30);
  EXPECT_NE(answer["choices"][0]["text"], answer["choices"][1]["text"]);
  const Json second = complete(server, {{"prompt", "two"}, {"n", 2}, {"max_tokens", 5}});
  EXPECT_EQ(second["choices"][0]["text"], answer["choices"][2]["text"]);
  EXPECT_EQ(second["choices"][1]["text"], answer["choices"][3]["text"]);
}

TEST(ApiServer, SeedsDecide) {
  ToyServer server;
  const auto text = [&](Json body) {
    body.update({{"prompt", "seed"}, {"temperature", 1}});
    return complete(server, body)["choices"][0]["text"];
  };
  EXPECT_EQ(text({{"seed", 5}}), text({{"seed", 5}}));
  EXPECT_NE(text({{"seed", 5}}), text({{"seed", -5}}));
  EXPECT_NE(text(Json::object()), text(Json::object()));
  // Equal prompts of one request are equal draws only where a seed was asked for.
  const auto both = [&](Json body) {
    body.update({{"prompt", {"seed", "seed"}}, {"temperature", 1}});
    const Json choices = complete(server, body)["choices"];
    return std::pair(choices[0]["text"], choices[1]["text"]);
  };
  const auto [first, second] = both(Json::object());
  EXPECT_NE(first, second);
  const auto [seeded, again] = both({{"seed", 5}});
  EXPECT_EQ(seeded, again);
}

TEST(ApiServer, StreamsTheSameText) {
  ToyServer server;
  const Json body = {{"prompt", {"One day", "Then"}}, {"n", 2}, {"max_tokens", 10}, {"logprobs", 2}, {"echo", false}};
  const Json whole = complete(server, body);
  Json with_usage = body;
  with_usage["stream_options"] = {{"include_usage", true}};
  const std::vector<Json> events = stream(server, "/v1/completions", with_usage);
  std::map<int, std::string> texts;
  std::map<int, Json> finishes, logprobs;
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    EXPECT_TRUE(events[i]["usage"].is_null());
    EXPECT_EQ(events[i]["id"], events[0]["id"]);
    ASSERT_EQ(events[i]["choices"].size(), 1u);
    const Json& choice = events[i]["choices"][0];
    const int index = choice["index"];
    EXPECT_FALSE(finishes.contains(index)) << "a chunk after the end";
    texts[index] += choice["text"].get<std::string>();
    if (!choice["finish_reason"].is_null()) finishes[index] = choice["finish_reason"];
    if (!choice["logprobs"].is_null())
      for (const char* name : {"tokens", "token_logprobs", "text_offset", "top_logprobs"})
        for (const Json& one : choice["logprobs"][name]) logprobs[index][name].push_back(one);
  }
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(texts[i], whole["choices"][i]["text"]);
    EXPECT_EQ(finishes[i], "length");
    for (const char* name : {"tokens", "token_logprobs", "text_offset", "top_logprobs"})
      EXPECT_EQ(logprobs[i][name], whole["choices"][i]["logprobs"][name]);
  }
  EXPECT_TRUE(events.back()["choices"].empty());
  EXPECT_EQ(events.back()["usage"]["completion_tokens"], 40);
  for (const Json& event : stream(server, "/v1/completions", body)) EXPECT_FALSE(event.contains("usage"));
  with_usage["stream_options"]["continuous_usage_stats"] = true;
  int64_t tokens = 0;
  for (const Json& event : stream(server, "/v1/completions", with_usage)) {
    EXPECT_GE(event["usage"]["completion_tokens"], tokens);
    tokens = event["usage"]["completion_tokens"];
  }
  EXPECT_EQ(tokens, 40);
}

TEST(ApiServer, ChatsWholeAndStreamed) {
  ToyServer server;
  const Json body = {{"max_completion_tokens", 9}, {"n", 2}, {"logprobs", true}, {"top_logprobs", 3}};
  const Json whole = chat(server, body);
  EXPECT_EQ(whole["object"], "chat.completion");
  ASSERT_EQ(whole["choices"].size(), 2u);
  EXPECT_EQ(whole["choices"][0]["message"]["role"], "assistant");
  const Json& content = whole["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), 9u);
  EXPECT_EQ(content[0]["top_logprobs"].size(), 3u);
  std::string bytes;
  for (const Json& entry : content)
    for (const Json& b : entry["bytes"]) bytes += static_cast<char>(b.get<int>());
  EXPECT_EQ(bytes, whole["choices"][0]["message"]["content"].get<std::string>());

  Json streamed = body;
  streamed["messages"] = Json::parse(R"([{"role": "user", "content": "hello"}])");
  const std::vector<Json> events = stream(server, "/v1/chat/completions", streamed);
  std::map<int, std::string> texts;
  std::map<int, int> chunks;
  std::map<int, Json> logprobs;
  for (const Json& event : events) {
    EXPECT_EQ(event["object"], "chat.completion.chunk");
    const Json& choice = event["choices"][0];
    const int index = choice["index"];
    EXPECT_EQ(choice["delta"].contains("role"), chunks[index]++ == 0);
    if (choice["delta"].contains("content")) texts[index] += choice["delta"]["content"].get<std::string>();
    if (!choice["logprobs"].is_null())
      for (const Json& one : choice["logprobs"]["content"]) logprobs[index].push_back(one);
  }
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(texts[i], whole["choices"][i]["message"]["content"]);
    EXPECT_EQ(logprobs[i], whole["choices"][i]["logprobs"]["content"]);
    EXPECT_EQ(chunks[i], 9 + 2);  // the role, one per token, the end
  }
  // Without a limit the answer may fill the context.
  const Json full = chat(server, Json::object());
  EXPECT_EQ(full["usage"]["total_tokens"], 256);
}

TEST(ApiServer, ChatNeedsATemplate) {
  ToyServerOptions options;
  options.chat_template.clear();
  ToyServer server(options);
  const Json error = chat(server, Json::object(), 400);
  EXPECT_NE(error["error"]["message"].get<std::string>().find("chat template"), std::string::npos);
}

TEST(ApiServer, StopStrings) {
  ToyServer server;
  const Json free = complete(server, {{"prompt", "stop"}, {"max_tokens", 60}});
  const std::string text = free["choices"][0]["text"];
  const std::string stop = text.substr(text.size() / 2, 3);
  const size_t at = text.find(stop);
  for (const bool include : {false, true}) {
    const Json body = {
        {"prompt", "stop"}, {"max_tokens", 60}, {"stop", {"never", stop}}, {"include_stop_str_in_output", include}};
    const Json answer = complete(server, body);
    EXPECT_EQ(answer["choices"][0]["text"], text.substr(0, at + (include ? stop.size() : 0)));
    EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
    EXPECT_EQ(answer["choices"][0]["stop_reason"], stop);
    EXPECT_LT(answer["usage"]["completion_tokens"], 60);
    std::string streamed;
    for (const Json& event : stream(server, "/v1/completions", body))
      streamed += event["choices"][0]["text"].get<std::string>();
    EXPECT_EQ(streamed, answer["choices"][0]["text"]);
  }
  // The engine does not go on with what nobody will read.
  EXPECT_TRUE(server.eventually([&](const EngineStats&) { return server.engine->idle(); }));
}

TEST(ApiServer, StopTokens) {
  ToyServer server;
  const Json free = complete(server, {{"prompt", "stop"}, {"max_tokens", 20}, {"logprobs", 0}});
  const std::string spelled = free["choices"][0]["logprobs"]["tokens"][6];
  TokenId id = -1;
  for (TokenId t = test::kFirstPlainToken; t < server.tokenizer->vocab_size(); ++t)
    if (server.tokenizer->token_bytes(t) == spelled) id = t;
  const Json answer = complete(server, {{"prompt", "stop"}, {"max_tokens", 20}, {"stop_token_ids", {id}}});
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(answer["choices"][0]["stop_reason"], id);
  const int at = answer["usage"]["completion_tokens"];
  EXPECT_LE(at, 7);
  // It stops nothing among the first min_tokens, and what follows them at once.
  const auto tokens = [&](int min_tokens) {
    const Json body = {{"prompt", "stop"}, {"max_tokens", 20}, {"stop_token_ids", {id}}, {"min_tokens", min_tokens}};
    return complete(server, body)["usage"]["completion_tokens"].get<int>();
  };
  EXPECT_EQ(tokens(at - 1), at);
  EXPECT_GT(tokens(at), at);
}

TEST(ApiServer, NamesWhatItIgnores) {
  ToyServer server;
  const HttpAnswer answer = server.call("POST", "/v1/completions", R"({"prompt": "x", "frobnicate": 1, "zap": {}})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.at("x-sluice-warnings"), "frobnicate, zap");
  EXPECT_EQ(server.call("POST", "/v1/completions", R"({"prompt": "x"})").headers.count("x-sluice-warnings"), 0u);
}

TEST(ApiServer, APriorityIsTakenWhereTheQueueReadsIt) {
  ToyServer fcfs;
  EXPECT_EQ(complete(fcfs, {{"prompt", "x"}, {"priority", 1}}, 400)["error"]["param"], "priority");
  complete(fcfs, {{"prompt", "x"}, {"priority", 0}});
  ToyServerOptions options;
  options.queue = "priority";
  ToyServer priority(options);
  complete(priority, {{"prompt", "x"}, {"priority", 1}});
}

TEST(ApiServer, TooLongNamesBothNumbers) {
  ToyServer server;
  const std::vector<TokenId> prompt(300, 300);
  Json error = complete(server, {{"prompt", prompt}}, 400)["error"];
  EXPECT_EQ(error["code"], "context_length_exceeded");
  EXPECT_EQ(error["param"], "prompt");
  for (const char* number : {"300", "256"})
    EXPECT_NE(error["message"].get<std::string>().find(number), std::string::npos);
  error = complete(server, {{"prompt", "x"}, {"max_tokens", 256}}, 400)["error"];
  EXPECT_EQ(error["code"], "context_length_exceeded");
  EXPECT_EQ(error["param"], "max_tokens");
  error = chat(server, {{"messages", {{{"role", "user"}, {"content", std::string(2000, 'x')}}}}}, 400)["error"];
  EXPECT_EQ(error["param"], "messages");
  EXPECT_EQ(error["code"], "context_length_exceeded");
  error = complete(server, {{"prompt", "x"}, {"logit_bias", {{"512", 1}}}}, 400)["error"];
  EXPECT_EQ(error["param"], "logit_bias");
  error = complete(server, {{"prompt", {5, 512}}}, 400)["error"];
  EXPECT_EQ(error["param"], "prompt");
  error = complete(server, {{"prompt", "x"}, {"min_tokens", 9}, {"max_tokens", 8}}, 400)["error"];
  EXPECT_EQ(error["param"], "min_tokens");
  error = complete(server, {{"prompt", "x"}, {"min_tokens", 17}}, 400)["error"];
  EXPECT_EQ(error["param"], "min_tokens");
  EXPECT_NE(error["message"].get<std::string>().find("16"), std::string::npos) << error;
  complete(server, {{"prompt", "x"}, {"min_tokens", 16}});
  EXPECT_EQ(chat(server, {{"min_tokens", 256}}, 400)["error"]["param"], "min_tokens");
  error = complete(server, {{"prompt", Json::array({Json::array()})}}, 400)["error"];
  EXPECT_EQ(error["param"], "prompt");
}

}  // namespace
}  // namespace sluice
