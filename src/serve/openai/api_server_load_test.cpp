// Requests that wait, end early or come many at once, over real sockets around a toy model.

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/support/api_calls.h"

namespace sluice {
namespace {

using test::complete;
using test::HttpAnswer;
using test::HttpClient;
using test::stream;
using test::stream_events;
using test::ToyServer;
using test::ToyServerOptions;
using namespace std::chrono_literals;

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

TEST(ApiServer, AClientBeyondItsRateHearsWhenToTryAgain) {
  ToyServerOptions options;
  options.limits = {.client_token_rate = 10, .client_token_burst = 40};
  ToyServer server(options);
  const std::string body = R"({"prompt": "x", "max_tokens": 38})";
  EXPECT_EQ(server.call("POST", "/v1/completions", body).status, 200);
  const HttpAnswer refused = server.call("POST", "/v1/completions", body);
  EXPECT_EQ(refused.status, 429);
  EXPECT_GE(std::stoi(refused.headers.at("retry-after")), 3);
  EXPECT_LE(std::stoi(refused.headers.at("retry-after")), 5);  // 38 and the prompt's
  EXPECT_NE(refused.body.find("--client-token-rate"), std::string::npos) << refused.body;
  const std::string metrics = server.call("GET", "/metrics", "").body;
  EXPECT_NE(metrics.find("sluice:requests_refused_client_rate_total"), std::string::npos);
  EXPECT_EQ(server.engine->stats().refused.client_rate, 1u);
}

TEST(ApiServer, AListOfPromptsIsWithinTheLimitsAsAWhole) {
  ToyServerOptions options;
  options.limits = {.client_token_rate = 0.01, .client_token_burst = 60, .max_waiting_per_client = 3};
  ToyServer server(options);
  // More than the burst together, while the bucket is full: served once, and then there is a debt.
  const std::string list = R"({"prompt": ["x", "y", "z"], "max_tokens": 30})";
  EXPECT_EQ(server.call("POST", "/v1/completions", list).status, 200);
  EXPECT_EQ(server.call("POST", "/v1/completions", list).status, 429);
  EXPECT_EQ(server.engine->stats().refused.client_rate, 1u);
  const HttpAnswer never = server.call("POST", "/v1/completions", R"({"prompt": ["a", "b", "c", "d"], "max_tokens": 1})");
  EXPECT_EQ(never.status, 400);
  EXPECT_NE(never.body.find("--max-waiting-per-client"), std::string::npos) << never.body;
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
