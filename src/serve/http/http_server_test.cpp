#include "serve/http/http_server.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>
#include <utility>

#include "base/rng.h"
#include "tests/support/http_client.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::HttpAnswer;
using test::HttpClient;

HttpOptions quick_options() {
  HttpOptions options;
  options.max_header_bytes = 4096;
  options.max_body_bytes = 10'000;
  return options;
}

/// Echoes the request; /hold keeps the writer until the test takes it.
class HttpServerTest : public ::testing::Test {
 protected:
  void start(HttpOptions options = quick_options()) {
    auto made = HttpServer::listen("127.0.0.1", 0, std::move(options), [this](HttpRequest request, auto response) {
      if (request.path.starts_with("/hold")) {
        std::lock_guard lock(mutex_);
        held_.push_back(response);
        changed_.notify_all();
        return;
      }
      if (request.path == "/drop") return;
      response->respond({200, {{"X-Query", request.query}}, request.method + " " + request.path + " " + request.body});
    });
    ASSERT_TRUE(made.ok()) << made.error().message;
    server_ = std::move(*made);
  }
  std::shared_ptr<ResponseWriter> take_held() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !held_.empty(); });
    auto writer = held_.front();
    held_.erase(held_.begin());
    return writer;
  }
  static void wait_for_disconnect(const std::shared_ptr<ResponseWriter>& writer) {
    auto gone = std::make_shared<std::promise<void>>();
    writer->on_disconnect([gone] { gone->set_value(); });
    ASSERT_EQ(gone->get_future().wait_for(20s), std::future_status::ready);
    EXPECT_TRUE(writer->disconnected());
  }
  void wait_for_connections(int n) {
    for (int i = 0; i < 2000 && server_->connections() != n; ++i) std::this_thread::sleep_for(10ms);
    ASSERT_EQ(server_->connections(), n);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<ResponseWriter>> held_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersAndKeepsTheConnection) {
  start();
  HttpClient client(server_->port());
  for (int i = 0; i < 3; ++i) {
    const HttpAnswer answer = client.call("POST", "/a%20b%zz?x=1&y", "body" + std::to_string(i));
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.headers.at("x-query"), "x=1&y");
    EXPECT_EQ(answer.body, "POST /a b%zz body" + std::to_string(i));
    EXPECT_EQ(answer.headers.count("connection"), 0u);
  }
  const HttpAnswer head = client.call("HEAD", "/h");
  EXPECT_EQ(head.headers.at("content-length"), "8");
  EXPECT_EQ(client.call("GET", "/next").body, "GET /next ");  // nothing of a body followed the HEAD
}

TEST_F(HttpServerTest, ClosesWhenAsked) {
  start();
  HttpClient client(server_->port());
  EXPECT_EQ(client.call("GET", "/", "", "Connection: close\r\n").headers.at("connection"), "close");
  EXPECT_TRUE(client.ended());
  HttpClient old(server_->port());
  old.send("GET /old HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.answer().body, "GET /old ");
  EXPECT_TRUE(old.ended());
}

TEST_F(HttpServerTest, AnswersPipelinedRequestsInOrder) {
  start();
  HttpClient client(server_->port());
  std::string all;
  for (int i = 0; i < 50; ++i) all += HttpClient::request("POST", "/p" + std::to_string(i), std::string(i * 7, 'x'));
  client.send(all);
  for (int i = 0; i < 50; ++i)
    EXPECT_EQ(client.answer().body, "POST /p" + std::to_string(i) + " " + std::string(i * 7, 'x'));
}

TEST_F(HttpServerTest, TakesRequestsInAnyPieces) {
  start();
  Rng rng(7);
  for (int round = 0; round < 20; ++round) {
    HttpClient client(server_->port());
    const std::string text =
        HttpClient::request("POST", "/pieces", "0123456789") +
        "POST /chunked HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    for (size_t at = 0; at < text.size();) {
      const size_t n = 1 + rng.below(20);
      client.send(text.substr(at, n));
      at += n;
    }
    EXPECT_EQ(client.answer().body, "POST /pieces 0123456789");
    EXPECT_EQ(client.answer().body, "POST /chunked abcde");
  }
}

TEST_F(HttpServerTest, SendsContinueWhereItIsExpected) {
  start();
  for (const std::string value : {"100-continue", "100-Continue"}) {
    HttpClient client(server_->port());
    client.send("POST /e HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nExpect: " + value + "\r\n\r\n");
    EXPECT_EQ(client.receive(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc");
    EXPECT_EQ(client.answer().body, "POST /e abc");
  }
}

TEST_F(HttpServerTest, TakesAbsoluteTargets) {
  start();
  HttpClient client(server_->port());
  for (const auto& [target, path] : {std::pair{"http://host:80/a%20b?c", "/a b"},
                                     {"HTTPS://host", "/"},
                                     {"http://host?a/b", "/"},
                                     {"/http://x", "/http://x"}})
    EXPECT_EQ(client.call("GET", target).body, fmt::format("GET {} ", path));
}

TEST_F(HttpServerTest, RefusesWhatIsTooLargeOrMalformed) {
  start();
  const std::pair<std::string, int> cases[] = {
      {"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10001\r\n\r\n", 413},
      {HttpClient::request("POST", "/", std::string(10'001, 'x')), 413},
      {"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2710\r\n" + std::string(10'000, 'x') +
           "\r\n1\r\nx\r\n0\r\n\r\n",
       413},
      {"GET / HTTP/1.1\r\nHost: t\r\nX: " + std::string(5000, 'x') + "\r\n\r\n", 431},
      {"GET /" + std::string(5000, 'x') + " HTTP/1.1\r\nHost: t\r\n\r\n", 431},
      {"nonsense\r\n\r\n", 400},
      {"GET / HTTP/9.9\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nabcd", 400},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(20'000, 'e'), 400},
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
      {"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\nHost: t\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", 415},
      {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 13), 400},
  };
  for (const auto& [text, status] : cases) {
    HttpClient client(server_->port());
    client.send(text);
    const HttpAnswer answer = client.answer();
    EXPECT_EQ(answer.status, status) << text.substr(0, 80);
    EXPECT_NE(answer.body.find("\"error\""), std::string::npos);
    EXPECT_TRUE(client.ended());
  }
  wait_for_connections(0);
}

TEST_F(HttpServerTest, SurvivesRandomBytes) {
  start();
  Rng rng(11);
  for (int round = 0; round < 60; ++round) {
    HttpClient client(server_->port());
    std::string text = HttpClient::request("POST", "/x", "hello");
    for (int i = 0; i < 4; ++i) text[rng.below(text.size())] = static_cast<char>(rng.below(256));
    client.send(text);
    client.half_close();
    const HttpAnswer answer = client.answer();
    EXPECT_TRUE(answer.status == 0 || answer.status == 200 || (answer.status >= 400 && answer.status < 500)) << text;
  }
  HttpClient client(server_->port());
  EXPECT_EQ(client.call("GET", "/alive").status, 200);
}

TEST_F(HttpServerTest, TimesOut) {
  HttpOptions options = quick_options();
  options.header_timeout = options.body_timeout = options.idle_timeout = 200ms;
  start(options);
  HttpClient headers(server_->port());
  headers.send("GET / HTTP/1.1\r\nHo");
  EXPECT_EQ(headers.answer().status, 408);
  HttpClient body(server_->port());
  body.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nabc");
  EXPECT_EQ(body.answer().status, 408);
  HttpClient idle(server_->port());
  EXPECT_EQ(idle.call("GET", "/").status, 200);
  EXPECT_TRUE(idle.ended());
  HttpClient silent(server_->port());
  EXPECT_TRUE(silent.ended());
}

TEST_F(HttpServerTest, Streams) {
  start();
  HttpClient client(server_->port());
  client.send(HttpClient::request("GET", "/hold"));
  const auto writer = take_held();
  writer->start_stream(201, {{"Content-Type", "text/plain"}});
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    writer->write("part" + std::to_string(i) + ";");
    expected += "part" + std::to_string(i) + ";";
  }
  writer->write("");
  writer->end();
  writer->write("after the end");
  writer->respond({200, {}, "a second answer"});
  HttpAnswer answer = client.answer();
  EXPECT_EQ(answer.status, 201);
  EXPECT_EQ(answer.body, expected);
  EXPECT_TRUE(answer.complete);
  EXPECT_EQ(client.call("GET", "/again").body, "GET /again ");

  HttpClient old(server_->port());
  old.send("GET /hold HTTP/1.0\r\n\r\n");
  const auto plain = take_held();
  plain->start_stream(200, {});
  plain->write("no ");
  plain->write("chunks");
  plain->end();
  answer = old.answer();
  EXPECT_EQ(answer.body, "no chunks");
  EXPECT_EQ(answer.headers.count("transfer-encoding"), 0u);
}

TEST_F(HttpServerTest, NoHeaderInjection) {
  start();
  HttpClient client(server_->port());
  client.send(HttpClient::request("GET", "/hold"));
  take_held()->respond({200, {{"X-Echo", "a\r\nX-Evil: b"}}, ""});
  const HttpAnswer answer = client.answer();
  EXPECT_EQ(answer.headers.at("x-echo"), "aX-Evil: b");
  EXPECT_EQ(answer.headers.count("x-evil"), 0u);
}

TEST_F(HttpServerTest, NoticesThatTheClientWentAway) {
  start();
  for (const bool streaming : {false, true}) {
    HttpClient client(server_->port());
    client.send(HttpClient::request("GET", "/hold"));
    const auto writer = take_held();
    if (streaming) {
      writer->start_stream(200, {});
      writer->write("x");
      EXPECT_FALSE(client.head_of_stream().empty());
    }
    EXPECT_FALSE(writer->disconnected());
    client.close();
    wait_for_disconnect(writer);
    writer->write("more");
    writer->end();
  }
  wait_for_connections(0);
}

TEST_F(HttpServerTest, NoticesItEvenBehindPipelinedBytes) {
  start();
  HttpClient client(server_->port());
  client.send(HttpClient::request("GET", "/hold") + HttpClient::request("GET", "/second"));
  const auto writer = take_held();
  client.close();
  wait_for_disconnect(writer);
}

TEST_F(HttpServerTest, DropsAClientThatDoesNotRead) {
  HttpOptions options = quick_options();
  options.max_pending_bytes = 100'000;
  start(options);
  HttpClient client(server_->port());
  client.set_receive_buffer(4096);
  client.send(HttpClient::request("GET", "/hold"));
  const auto writer = take_held();
  writer->start_stream(200, {});
  for (int i = 0; i < 20'000 && !writer->disconnected(); ++i) writer->write(std::string(1000, 'x'));
  wait_for_disconnect(writer);
}

TEST_F(HttpServerTest, DropsAClientThatStalls) {
  HttpOptions options = quick_options();
  options.max_pending_bytes = size_t{1} << 30;
  options.write_timeout = 50ms;
  start(options);
  HttpClient client(server_->port());
  client.set_receive_buffer(4096);
  client.send(HttpClient::request("GET", "/hold"));
  const auto writer = take_held();
  writer->start_stream(200, {});
  writer->write(std::string(30 << 20, 'x'));
  wait_for_disconnect(writer);
}

TEST_F(HttpServerTest, ASlowClientGetsEverything) {
  start();
  HttpClient client(server_->port());
  client.send(HttpClient::request("GET", "/hold"));
  const std::string body(16 << 20, 'y');
  take_held()->respond({200, {}, body});
  EXPECT_EQ(client.answer().body, body);
}

TEST_F(HttpServerTest, AForgottenRequestStillGetsAnAnswer) {
  start();
  HttpClient client(server_->port());
  EXPECT_EQ(client.call("GET", "/drop").status, 500);
  HttpClient stream(server_->port());
  stream.send(HttpClient::request("GET", "/hold"));
  auto writer = take_held();
  writer->start_stream(200, {});
  writer->write("begun");
  writer.reset();
  const HttpAnswer answer = stream.answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_FALSE(answer.complete);
}

TEST_F(HttpServerTest, LimitsItsConnections) {
  HttpOptions options = quick_options();
  options.max_connections = 2;
  start(options);
  HttpClient a(server_->port()), b(server_->port());
  EXPECT_EQ(a.call("GET", "/").status, 200);
  EXPECT_EQ(b.call("GET", "/").status, 200);
  HttpClient c(server_->port());
  const HttpAnswer refused = c.answer();
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.at("retry-after"), "1");
  EXPECT_TRUE(c.ended());
  a.close();
  wait_for_connections(1);
  HttpClient d(server_->port());
  EXPECT_EQ(d.call("GET", "/").status, 200);
}

TEST_F(HttpServerTest, DrainsBeforeItStops) {
  start();
  HttpClient idle(server_->port()), busy(server_->port());
  EXPECT_EQ(idle.call("GET", "/").status, 200);
  busy.send(HttpClient::request("GET", "/hold"));
  auto writer = take_held();
  EXPECT_FALSE(server_->drain(1ms));
  EXPECT_TRUE(idle.ended());
  HttpClient late(server_->port());
  if (late.connected()) {
    EXPECT_TRUE(late.ended());
  }
  writer->respond({200, {}, "done"});
  const HttpAnswer answer = busy.answer();
  EXPECT_EQ(answer.body, "done");
  EXPECT_EQ(answer.headers.at("connection"), "close");
  EXPECT_TRUE(server_->drain(20s));
}

TEST_F(HttpServerTest, NothingIsLeftOfAServerThatWasDrainedAndStood) {
  auto token = std::make_shared<int>();
  const std::weak_ptr<int> held = token;
  auto listening = HttpServer::listen("127.0.0.1", 0, quick_options(),
                                      [kept = std::exchange(token, nullptr)](HttpRequest, const auto& writer) {
                                        writer->respond({200, {}, "answer"});
                                      });
  ASSERT_TRUE(listening.ok()) << listening.error().message;
  std::unique_ptr<HttpServer> server = std::move(*listening);
  {
    HttpClient client(server->port());
    EXPECT_EQ(client.call("GET", "/").status, 200);
  }
  EXPECT_TRUE(server->drain(20s));
  std::this_thread::sleep_for(50ms);  // nothing is left to do for the I/O thread
  EXPECT_TRUE(server->drain(20s));
  server.reset();
  EXPECT_TRUE(held.expired());
}

TEST_F(HttpServerTest, WritersMayOutliveTheServer) {
  start();
  HttpClient client(server_->port());
  client.send(HttpClient::request("GET", "/hold"));
  const auto writer = take_held();
  server_.reset();
  EXPECT_TRUE(writer->disconnected());
  writer->respond({200, {}, "too late"});
  EXPECT_TRUE(client.ended());
}

TEST_F(HttpServerTest, ManyThreadsAnswerManyClients) {
  HttpOptions options = quick_options();
  options.io_threads = 2;
  start(options);
  std::vector<std::thread> clients;
  std::atomic<int> good{0};
  for (int t = 0; t < 8; ++t)
    clients.emplace_back([&, t] {
      HttpClient client(server_->port());
      for (int i = 0; i < 50; ++i) {
        const std::string body = std::to_string(t * 1000 + i);
        if (client.call("POST", "/m", body).body == "POST /m " + body) ++good;
      }
    });
  for (std::thread& t : clients) t.join();
  EXPECT_EQ(good, 400);
}

TEST(HttpListen, SaysWhyItCannot) {
  const auto bad_port = HttpServer::listen("127.0.0.1", 70'000, {}, [](auto, auto) {});
  EXPECT_NE(bad_port.error().message.find("70000"), std::string::npos);
  const auto bad_host = HttpServer::listen("256.1.1.1", 0, {}, [](auto, auto) {});
  EXPECT_NE(bad_host.error().message.find("256.1.1.1"), std::string::npos);
  auto first = HttpServer::listen("127.0.0.1", 0, {}, [](auto, auto) {});
  const auto second = HttpServer::listen("127.0.0.1", (*first)->port(), {}, [](auto, auto) {});
  EXPECT_EQ(second.error().code, ErrorCode::io);
}

}  // namespace
}  // namespace sluice
