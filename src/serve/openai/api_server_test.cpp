// The endpoints over real sockets, around a real engine and a toy model.

#include "serve/openai/api_server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/rng.h"
#include "tests/support/api_calls.h"

namespace sluice {
namespace {

using test::chat;
using test::complete;
using test::HttpAnswer;
using test::HttpClient;
using test::post;
using test::stream;
using test::stream_events;
using test::ToyServer;
using test::ToyServerOptions;
using namespace std::chrono_literals;

TEST(ApiServer, IsNotReadyBeforeTheModelIs) {
  ToyServerOptions options;
  options.ready = false;
  ToyServer server(options);
  EXPECT_EQ(server.call("GET", "/health").status, 503);
  EXPECT_EQ(server.call("GET", "/v1/models").status, 503);
  EXPECT_EQ(server.call("GET", "/version").status, 200);
  EXPECT_EQ(server.call("GET", "/metrics").status, 200);
  const HttpAnswer refused = server.call("POST", "/v1/completions", R"({"prompt": "x"})");
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.count("retry-after"), 1u);
  server.make_ready();
  EXPECT_EQ(server.call("GET", "/health").status, 200);
  EXPECT_EQ(server.call("GET", "/ping").status, 200);
  EXPECT_EQ(server.call("HEAD", "/health").status, 200);
  complete(server, {{"prompt", "x"}});
}

TEST(ApiServer, HealthNeedsProgress) {
  ToyServerOptions options;
  options.api.health_timeout = 100ms;
  ToyServer server(options);
  server.executor->hold();
  HttpClient client(server.port());
  client.send(HttpClient::request("POST", "/v1/completions", R"({"prompt": "x"})"));
  EXPECT_TRUE(server.eventually([&](const EngineStats&) { return server.call("GET", "/health").status == 503; }));
  server.executor->release();
  EXPECT_EQ(client.answer().status, 200);
  EXPECT_TRUE(server.eventually([&](const EngineStats&) { return server.call("GET", "/health").status == 200; }));
}

TEST(ApiServer, ListsItsModels) {
  ToyServer server;
  const Json list = Json::parse(server.call("GET", "/v1/models").body);
  EXPECT_EQ(list["object"], "list");
  ASSERT_EQ(list["data"].size(), 2u);
  EXPECT_EQ(list["data"][0]["id"], "toy");
  EXPECT_EQ(list["data"][0]["max_model_len"], 256);
  EXPECT_EQ(list["data"][0]["created"], 1234);
  EXPECT_EQ(Json::parse(server.call("GET", "/v1/models/org/alias").body)["id"], "org/alias");
  EXPECT_EQ(Json::parse(server.call("GET", "/v1/models/org%2Falias").body)["id"], "org/alias");
  EXPECT_EQ(server.call("GET", "/v1/models/none").status, 404);
  const Json error = complete(server, {{"model", "gpt-9"}, {"prompt", "x"}}, 404);
  EXPECT_EQ(error["error"]["code"], "model_not_found");
  EXPECT_EQ(error["error"]["param"], "model");
  EXPECT_EQ(complete(server, {{"model", "org/alias"}, {"prompt", "x"}})["model"], "org/alias");
}

TEST(ApiServer, RoutesAndMethods) {
  ToyServer server;
  const HttpAnswer nothing = server.call("GET", "/v1/nothing");
  EXPECT_EQ(nothing.status, 404);
  EXPECT_EQ(Json::parse(nothing.body)["error"]["type"], "not_found_error");
  const HttpAnswer wrong = server.call("GET", "/v1/completions");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers.at("allow"), "POST, OPTIONS");
  EXPECT_EQ(server.call("DELETE", "/v1/models").status, 405);
  const HttpAnswer options = server.call("OPTIONS", "/v1/completions");
  EXPECT_EQ(options.status, 204);
  EXPECT_EQ(options.headers.count("access-control-allow-origin"), 0u);
  EXPECT_EQ(server.call("GET", "/health", "", "X-Request-Id: abc-1\r\n").headers.at("x-request-id"), "abc-1");
  EXPECT_EQ(server.call("GET", "/health").headers.at("x-request-id").size(), 32u);
}

TEST(ApiServer, CorsWhereAskedFor) {
  ToyServerOptions options;
  options.api.cors_origin = "https://app.example";
  ToyServer server(options);
  EXPECT_EQ(server.call("GET", "/v1/models").headers.at("access-control-allow-origin"), "https://app.example");
  EXPECT_EQ(server.call("OPTIONS", "/v1/completions").headers.at("access-control-allow-methods"), "POST, OPTIONS");
}

TEST(ApiServer, AsksForKeys) {
  ToyServerOptions options;
  options.api.api_keys = {"sk-one", "sk-two"};
  ToyServer server(options);
  for (const char* header :
       {"", "Authorization: Bearer sk-on\r\n", "Authorization: Bearer sk-onf\r\n", "Authorization: sk-one\r\n",
        "Authorization: Bearer \r\n", "Authorization: Bearer sk-onesk-one\r\n"}) {
    const HttpAnswer refused = server.call("GET", "/v1/models", "", header);
    EXPECT_EQ(refused.status, 401) << header;
    const Json error = Json::parse(refused.body)["error"];
    EXPECT_EQ(error["code"], "invalid_api_key");
    EXPECT_EQ(error["type"], "invalid_request_error");
  }
  EXPECT_EQ(server.call("GET", "/v1/models", "", "Authorization: Bearer sk-two\r\n").status, 200);
  EXPECT_EQ(server.call("POST", "/v1/completions", R"({"prompt": "x"})", "authorization: bearer sk-one\r\n").status,
            200);
  EXPECT_EQ(server.call("POST", "/v1/completions", R"({"prompt": "x"})").status, 401);
  for (const char* open : {"/health", "/version", "/metrics"}) EXPECT_EQ(server.call("GET", open).status, 200);
}

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

TEST(ApiServer, AFullQueueSaysWhenToTryAgain) {
  ToyServerOptions options;
  options.max_waiting = 3;
  options.max_num_seqs = 1;
  ToyServer server(options);
  server.executor->hold();
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server.port()));
    clients.back()->send(HttpClient::request("POST", "/v1/completions", R"({"prompt": "x"})"));
    if (i == 0) server.executor->allow(1);  // it runs, and is held in its second step
    ASSERT_TRUE(server.eventually([&](const EngineStats& s) { return s.running == 1 && s.waiting == i; }));
  }
  const HttpAnswer refused = server.call("POST", "/v1/completions", R"({"prompt": "x"})");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.headers.at("retry-after"), "1");
  EXPECT_EQ(Json::parse(refused.body)["error"]["code"], "rate_limit_exceeded");
  // Of several prompts all or none are taken.
  EXPECT_EQ(server.call("POST", "/v1/completions", R"({"prompt": ["x", "y"]})").status, 429);
  // More prompts than the queue holds can never be taken.
  EXPECT_EQ(server.call("POST", "/v1/completions", R"({"prompt": ["a", "b", "c", "d"]})").status, 400);
  server.executor->release();
  for (auto& client : clients) EXPECT_EQ(client->answer().status, 200);
}

TEST(ApiServer, ADisconnectCancels) {
  ToyServer server;
  for (const bool streaming : {false, true}) {
    server.executor->hold();
    {
      HttpClient client(server.port());
      client.send(HttpClient::request(
          "POST", "/v1/completions",
          Json{{"prompt", {"x", "y"}}, {"n", 2}, {"max_tokens", 200}, {"stream", streaming}}.dump()));
      server.executor->allow(4);
      if (streaming) {
        EXPECT_FALSE(client.head_of_stream().empty());
        EXPECT_TRUE(client.chunk().has_value());
      }
      ASSERT_TRUE(server.eventually([](const EngineStats& s) { return s.generation_tokens > 0; }));
    }
    // A few steps suffice to be rid of it, though 200 tokens were asked for.
    ASSERT_TRUE(server.eventually([&](const EngineStats&) {
      server.executor->allow(1);
      return server.engine->idle();
    }));
    server.executor->release();
    const EngineStats stats = server.engine->stats();
    EXPECT_LT(stats.generation_tokens, 400u);
    EXPECT_EQ(stats.free_blocks + stats.cached_idle_blocks, stats.total_blocks);
  }
  EXPECT_NE(server.call("GET", "/metrics").body.find("finished_reason=\"abort\""), std::string::npos);
}

TEST(ApiServer, RequestsTimeOut) {
  ToyServerOptions options;
  options.api.request_timeout = 200ms;
  ToyServer server(options);
  server.executor->hold();
  const HttpAnswer late = server.call("POST", "/v1/completions", R"({"prompt": "x", "max_tokens": 50})");
  EXPECT_EQ(late.status, 504);
  EXPECT_EQ(Json::parse(late.body)["error"]["type"], "timeout_error");
  HttpClient client(server.port());
  client.send(HttpClient::request("POST", "/v1/completions", R"({"prompt": "y", "max_tokens": 50, "stream": true})"));
  server.executor->allow(8);
  const std::vector<Json> events = stream_events(client.answer());
  EXPECT_EQ(events.back()["error"]["code"], "request_timeout");
  server.executor->release();
  EXPECT_TRUE(server.eventually([&](const EngineStats&) { return server.engine->idle(); }));
}

TEST(ApiServer, WaitingToBeReadCountsFromTheArrival) {
  ToyServerOptions options;
  options.api.request_timeout = 50ms;
  ToyServer server(options);
  HttpClient busy(server.port());
  busy.send(HttpClient::request("POST", "/tokenize", Json{{"prompt", std::string(3 << 20, 'x')}}.dump()));
  // Behind megabytes that are being tokenized, it is too late before anybody sees that it is too long.
  const std::string body = Json{{"prompt", std::string(100 << 10, 'x')}}.dump();
  EXPECT_TRUE(server.eventually(
      [&](const EngineStats&) { return server.call("POST", "/v1/completions", body).status == 504; }));
  EXPECT_EQ(busy.answer().status, 200);
}

TEST(ApiServer, TimeInTheQueueCountsFromTheArrival) {
  ToyServer server;
  Request request;
  request.prompt = {300};
  request.arrival = server.clock.now() - 5'000'000'000;
  ASSERT_TRUE(server.engine->add(request, [](const Output&) {}).ok());
  ASSERT_TRUE(server.eventually([](const EngineStats& s) { return s.finished_requests == 1; }));
  const std::string text = server.call("GET", "/metrics").body;
  const std::string name = "sluice:request_queue_time_seconds_sum{model_name=\"toy\"} ";
  EXPECT_GE(std::stod(text.substr(text.find(name) + name.size())), 5.0);
}

TEST(ApiServer, AFullIntakeSaysWhenToTryAgain) {
  ToyServerOptions options;
  options.api.intake.jobs = 1;
  ToyServer server(options);
  HttpAnswer refused;
  EXPECT_TRUE(server.eventually([&](const EngineStats&) {
    HttpClient busy(server.port());
    busy.send(HttpClient::request("POST", "/tokenize", Json{{"prompt", std::string(1 << 18, 'x')}}.dump()));
    HttpAnswer large;
    std::atomic<bool> answered{false};
    std::thread wait([&] { large = busy.answer(), answered = true; });
    // Small requests all the while that the large one takes: one of them, or else the large one, comes second.
    while (!answered && refused.status != 429) refused = server.call("POST", "/v1/completions", R"({"prompt": "x", "max_tokens": 1})");
    wait.join();
    if (large.status == 429) refused = large;
    return refused.status == 429;
  }));
  EXPECT_EQ(refused.headers.count("retry-after"), 1u);
}

TEST(ApiServer, TokenizesAndBack) {
  ToyServer server;
  const Json tokens = post(server, "/tokenize", {{"prompt", "Once upon"}, {"return_token_strs", true}});
  EXPECT_EQ(tokens["tokens"], Json(server.tokenizer->encode("Once upon")));
  EXPECT_EQ(tokens["count"], tokens["tokens"].size());
  EXPECT_EQ(tokens["token_strs"].size(), tokens["tokens"].size());
  EXPECT_EQ(tokens["max_model_len"], 256);
  const Json bare = post(server, "/tokenize", {{"prompt", "Once upon"}, {"add_special_tokens", false}});
  EXPECT_EQ(bare["count"].get<int>() + 1, tokens["count"].get<int>());
  EXPECT_EQ(post(server, "/detokenize", {{"tokens", bare["tokens"]}})["prompt"], "Once upon");
  const Json messages = post(server, "/tokenize", {{"messages", {{{"role", "user"}, {"content", "hello"}}}}});
  EXPECT_EQ(messages["count"], chat(server, {{"max_tokens", 1}})["usage"]["prompt_tokens"]);
  EXPECT_EQ(post(server, "/tokenize", Json::object(), 400)["error"]["param"], "prompt");
  EXPECT_EQ(post(server, "/detokenize", {{"tokens", {512}}}, 400)["error"]["param"], "tokens[0]");
  EXPECT_EQ(post(server, "/detokenize", {{"tokens", "x"}}, 400)["error"]["param"], "tokens");
}

TEST(ApiServer, ShowsMetrics) {
  ToyServer server;
  complete(server, {{"prompt", "metrics"}, {"max_tokens", 7}});
  // A token's metrics are taken before the answer is sent.
  const std::string text = server.call("GET", "/metrics").body;
  for (const char* line :
       {"# TYPE sluice:num_requests_running gauge", "# TYPE sluice:prompt_tokens_total counter",
        "# TYPE sluice:time_to_first_token_seconds histogram", "sluice:generation_tokens_total{model_name=\"toy\"} 7",
        "sluice:request_success_total{finished_reason=\"length\",model_name=\"toy\"} 1",
        "sluice:request_success_total{finished_reason=\"error\",model_name=\"toy\"} 0",
        "sluice:time_to_first_token_seconds_count{model_name=\"toy\"} 1",
        "sluice:inter_token_latency_seconds_count{model_name=\"toy\"} 6",
        "sluice:e2e_request_latency_seconds_count{model_name=\"toy\"} 1",
        "sluice:request_queue_time_seconds_count{model_name=\"toy\"} 1",
        "sluice:time_to_first_token_seconds_bucket{model_name=\"toy\",le=\"0.001\"}",
        "sluice:kv_cache_usage_perc{model_name=\"toy\"}", "sluice:prefix_cache_queries_total",
        "sluice:prefix_cache_hits_total", "sluice:num_preemptions_total", "sluice:num_requests_waiting",
        "sluice:prompt_tokens_computed_total", "sluice:tokens_recomputed_total"})
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
}

TEST(ApiServer, AnyBodyGetsAReason) {
  ToyServer server;
  Rng rng(23);
  const std::pair<const char*, std::string> seeds[] = {
      {"/v1/completions",
       R"({"model": "toy", "prompt": ["a", "b"], "max_tokens": 3, "temperature": 0.5, "stop": ["x"], "logit_bias": {"3": 1}, "stream": true, "stream_options": {"include_usage": true}})"},
      {"/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "h\u00e9"}]}], "max_tokens": 2, "tools": [], "n": 2, "logprobs": true})"},
      {"/tokenize", R"({"prompt": "abc", "add_special_tokens": true})"},
      {"/detokenize", R"({"tokens": [1, 2, 300]})"}};
  HttpClient client(server.port());
  for (int round = 0; round < 800; ++round) {
    const auto& [path, seed] = seeds[rng.below(std::size(seeds))];
    std::string body = seed;
    for (uint64_t n = 1 + rng.below(4); n > 0; --n) {
      const size_t at = rng.below(body.size());
      switch (rng.below(4)) {
        case 0: body[at] = static_cast<char>(rng.below(256)); break;
        case 1: body.erase(at, 1 + rng.below(8)); break;
        case 2: body.insert(at, body.substr(rng.below(body.size()), rng.below(12))); break;
        default: body.insert(at, std::array{"null", "-1", "1e400", "[[", "{}", "\\u0000", "\"", "true"}[rng.below(8)]);
      }
      if (body.empty()) body = "{";
    }
    const HttpAnswer answer = client.call("POST", path, body);
    ASSERT_TRUE(answer.status == 200 || (answer.status >= 400 && answer.status < 500)) << answer.status << " " << body;
    if (answer.status != 200) {
      const Json error = Json::parse(answer.body)["error"];
      EXPECT_FALSE(error["message"].get<std::string>().empty());
    }
  }
  EXPECT_EQ(server.call("POST", "/v1/completions", "").status, 400);
  EXPECT_EQ(server.call("POST", "/v1/completions", std::string(100'000, '[')).status, 400);
  EXPECT_EQ(server.call("POST", "/v1/completions", R"({"prompt": "a", "prompt": "b"})").status, 400);
  EXPECT_EQ(server.call("GET", "/health").status, 200);
}

TEST(ApiServer, LimitsTheBody) {
  ToyServerOptions options;
  options.api.http.max_body_bytes = 1000;
  ToyServer server(options);
  const HttpAnswer answer = server.call("POST", "/v1/completions", Json{{"prompt", std::string(2000, 'x')}}.dump());
  EXPECT_EQ(answer.status, 413);
  EXPECT_EQ(Json::parse(answer.body)["error"]["type"], "invalid_request_error");
}

TEST(ApiServer, PipelinedRequestsAreAnsweredInOrder) {
  ToyServer server;
  HttpClient client(server.port());
  std::string all;
  for (int i = 1; i <= 8; ++i)
    all += HttpClient::request("POST", "/v1/completions",
                               Json{{"prompt", "p"}, {"max_tokens", i}, {"stream", i % 2 == 0}}.dump());
  client.send(all);
  for (int i = 1; i <= 8; ++i) {
    const HttpAnswer answer = client.answer();
    if (i % 2 == 0) {
      EXPECT_EQ(stream_events(answer).size(), static_cast<size_t>(i + 1));
    } else {
      EXPECT_EQ(Json::parse(answer.body)["usage"]["completion_tokens"], i);
    }
  }
}

TEST(ApiServer, ManyClientsGetWhatOneAloneGets) {
  ToyServerOptions options;
  options.kv_blocks = 64;  // 256 tokens: a fraction of what is asked for at once
  ToyServer server(options);
  constexpr int kClients = 24;
  const auto body = [](int i, bool stream) {
    return Json{{"prompt", "story " + std::to_string(i)},
                {"max_tokens", 40 + i % 7},
                {"stream", stream},
                {"seed", i},
                {"temperature", 1}};
  };
  std::vector<std::string> alone(kClients), together(kClients);
  for (int i = 0; i < kClients; ++i) alone[i] = complete(server, body(i, false))["choices"][0]["text"];
  // A step that is held lets all of them arrive before any is served, however fast this machine is.
  server.executor->hold();
  HttpClient first(server.port());
  first.send(HttpClient::request("POST", "/v1/completions", R"({"prompt": "x", "max_tokens": 1})"));
  ASSERT_TRUE(server.eventually([&](const EngineStats& s) { return s.waiting == 0 && !server.engine->idle(); }));
  std::vector<std::thread> threads;
  for (int i = 0; i < kClients; ++i)
    threads.emplace_back([&, i] {
      for (const Json& event : stream(server, "/v1/completions", body(i, true)))
        together[i] += event["choices"][0]["text"].get<std::string>();
    });
  EXPECT_TRUE(server.eventually([](const EngineStats& s) { return s.waiting == kClients; }));
  server.executor->release();
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(together, alone);
  EXPECT_GT(server.engine->stats().preemptions, 0u);
}

TEST(ApiServer, DrainFinishesWhatRuns) {
  ToyServer server;
  server.executor->hold();
  HttpClient busy(server.port()), idle(server.port());
  EXPECT_EQ(idle.call("GET", "/health").status, 200);
  busy.send(HttpClient::request("POST", "/v1/completions", R"({"prompt": "x", "max_tokens": 20})"));
  ASSERT_TRUE(server.eventually([&](const EngineStats&) { return !server.engine->idle(); }));
  EXPECT_FALSE(server.api->drain(1ms));
  EXPECT_TRUE(idle.ended());
  server.executor->release();
  const HttpAnswer answer = busy.answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(Json::parse(answer.body)["usage"]["completion_tokens"], 20);
  busy.close();
  EXPECT_TRUE(server.api->drain(20s));
}

TEST(ApiServer, StopsWithRequestsInFlight) {
  auto server = std::make_unique<ToyServer>();
  server->executor->hold();
  HttpClient a(server->port()), b(server->port());
  a.send(HttpClient::request("POST", "/v1/completions", R"({"prompt": "x", "max_tokens": 20})"));
  b.send(HttpClient::request("POST", "/v1/completions", R"({"prompt": "x", "max_tokens": 20, "stream": true})"));
  ASSERT_TRUE(server->eventually([&](const EngineStats&) { return !server->engine->idle(); }));
  server.reset();
  EXPECT_TRUE(a.ended());
  EXPECT_TRUE(b.ended());
}

}  // namespace
}  // namespace sluice
