// The endpoints over real sockets, around a real engine and a toy model: who may ask, and for what.

#include "serve/openai/api_server.h"

#include <gtest/gtest.h>

#include <array>
#include <nlohmann/json.hpp>

#include "base/rng.h"
#include "tests/support/api_calls.h"

namespace sluice {
namespace {

using test::chat;
using test::complete;
using test::HttpAnswer;
using test::HttpClient;
using test::post;
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

TEST(ApiServer, AClientIsItsKeyOrElseItsUserField) {
  ToyServer open;
  for (const char* body : {R"({"prompt": "x", "user": "ann"})", R"({"prompt": "x"})"})
    EXPECT_EQ(open.call("POST", "/v1/completions", body).status, 200);
  EXPECT_EQ(open.executor->clients(), (std::set<std::string>{"", "ann"}));
  EXPECT_EQ(open.call("POST", "/v1/completions", R"({"prompt": "x", "user": 7})").status, 400);
  ToyServerOptions options;
  options.api.api_keys = {"sk-one", "sk-two"};
  ToyServer keyed(options);
  EXPECT_EQ(keyed.call("POST", "/v1/completions", R"({"prompt": "x", "user": "ann"})", "Authorization: Bearer sk-two\r\n").status, 200);
  EXPECT_EQ(keyed.executor->clients(), (std::set<std::string>{"key2"})) << "who has a key cannot pass for another";
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
  // Latencies are taken before the answer is sent; the engine's counts when its step has ended.
  std::string text = server.call("GET", "/metrics").body;
  for (int i = 0; i < 1000 && text.find("sluice:generation_tokens_total{model_name=\"toy\"} 7") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    text = server.call("GET", "/metrics").body;
  }
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

}  // namespace
}  // namespace sluice
