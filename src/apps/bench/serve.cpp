// sluice bench serve: a load generator against any OpenAI-compatible server. It streams, and reports what vLLM's
// benchmark reports.

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <charconv>
#include <cstdio>
#include <deque>
#include <nlohmann/json.hpp>

#include "apps/bench/bench.h"
#include "apps/bench/roofline.h"
#include "apps/bench/workload.h"
#include "apps/printable.h"
#include "apps/progress.h"
#include "apps/text_file.h"

namespace sluice {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using nlohmann::json;

/// What went wrong, for people: Boost's what() adds the line of its own source.
std::string reason(const std::exception& e) {
  const auto* error = dynamic_cast<const boost::system::system_error*>(&e);
  return error != nullptr ? error->code().message() : e.what();
}

struct Target {
  std::string host, port, endpoint = "/v1/completions", model, api_key;
  bool chat = false;
  double timeout_s = 600;
};

http::request<http::string_body> make_http(const Target& target, http::verb verb, const std::string& path,
                                           std::string body) {
  http::request<http::string_body> request{verb, path, 11};
  request.set(http::field::host, target.host);
  request.set(http::field::user_agent, "sluice-bench");
  request.set(http::field::content_type, "application/json");
  if (!target.api_key.empty()) request.set(http::field::authorization, "Bearer " + target.api_key);
  request.body() = std::move(body);
  request.prepare_payload();
  return request;
}

/// Feeds on the body of an event stream and notes when text came.
class StreamReader {
 public:
  explicit StreamReader(RequestRecord& record) : record_(record) {}

  void feed(std::string_view bytes, Nanos now) {
    pending_ += bytes;
    for (size_t end; (end = pending_.find('\n')) != std::string::npos;) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (line.starts_with("data:")) event(line.substr(line.find_first_not_of(' ', 5)), now);
    }
  }
  bool done() const { return done_; }

 private:
  void event(const std::string& data, Nanos now) {
    if (data == "[DONE]") {
      done_ = true;
      return;
    }
    const json j = json::parse(data, nullptr, false);
    if (!j.is_object()) return;
    if (j.contains("error")) record_.error = j["error"].dump();
    if (j.contains("usage") && j["usage"].is_object()) {
      record_.prompt_tokens = j["usage"].value("prompt_tokens", record_.prompt_tokens);
      record_.output_tokens = j["usage"].value("completion_tokens", 0);
    }
    if (!j.contains("choices") || !j["choices"].is_array() || j["choices"].empty()) return;
    const json& choice = j["choices"][0];
    const json& holder = choice.contains("delta") ? choice["delta"] : choice;
    for (const char* key : {"text", "content", "reasoning_content"})
      if (holder.contains(key) && holder[key].is_string() && !holder[key].get_ref<const std::string&>().empty()) {
        record_.token_times.push_back(now);
        return;
      }
  }

  RequestRecord& record_;
  std::string pending_;
  bool done_ = false;
};

struct Shared {
  asio::io_context io{1};
  RealClock clock;
  Target target;
  tcp::resolver::results_type endpoints;
  int running = 0, limit = 0;
  size_t finished = 0;
  std::deque<asio::steady_timer*> queue;  // who waits for the concurrency cap
};

asio::awaitable<void> send_one(Shared& shared, const std::string& body, RequestRecord& record) {
  try {
    beast::tcp_stream stream(shared.io);
    stream.expires_after(std::chrono::milliseconds(static_cast<int64_t>(shared.target.timeout_s * 1000)));
    co_await stream.async_connect(shared.endpoints, asio::use_awaitable);
    stream.socket().set_option(tcp::no_delay(true));
    const auto request = make_http(shared.target, http::verb::post, shared.target.endpoint, body);
    co_await http::async_write(stream, request, asio::use_awaitable);
    beast::flat_buffer buffer;
    http::response_parser<http::buffer_body> parser;
    parser.body_limit(boost::none);
    co_await http::async_read_header(stream, buffer, parser, asio::use_awaitable);
    const unsigned status = parser.get().result_int();
    StreamReader reader(record);
    std::string error_body;
    std::array<char, 16384> chunk;
    while (!parser.is_done()) {
      parser.get().body().data = chunk.data();
      parser.get().body().size = chunk.size();
      beast::error_code ec;
      co_await http::async_read_some(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, ec));
      if (ec && ec != http::error::need_buffer) throw beast::system_error(ec);
      const std::string_view bytes(chunk.data(), chunk.size() - parser.get().body().size);
      if (status == 200)
        reader.feed(bytes, shared.clock.now());
      else
        error_body += bytes;
    }
    if (status != 200)
      record.error = fmt::format("HTTP {}: {}", status, error_body.substr(0, 300));
    else if (!reader.done())
      record.error = "the stream ended without [DONE]";
    record.ok = record.error.empty() && !record.token_times.empty();
    if (record.error.empty() && record.token_times.empty()) record.error = "no text came";
  } catch (const std::exception& e) {
    record.error = reason(e);
  }
}

asio::awaitable<void> run_one(Shared& shared, Nanos at, const std::string& body, RequestRecord& record) {
  asio::steady_timer timer(shared.io);
  timer.expires_after(std::chrono::nanoseconds(std::max<Nanos>(0, at - shared.clock.now())));
  co_await timer.async_wait(asio::use_awaitable);
  const Nanos due = shared.clock.now();
  if (shared.limit > 0 && shared.running >= shared.limit) {
    asio::steady_timer turn(shared.io, asio::steady_timer::time_point::max());
    shared.queue.push_back(&turn);
    beast::error_code ec;
    co_await turn.async_wait(asio::redirect_error(asio::use_awaitable, ec));
  } else {
    ++shared.running;
  }
  record.arrival = shared.clock.now();
  record.held = record.arrival - due;
  co_await send_one(shared, body, record);
  ++shared.finished;
  if (!shared.queue.empty()) {
    shared.queue.front()->cancel();  // hands its turn on
    shared.queue.pop_front();
  } else {
    --shared.running;
  }
}

/// GET path as JSON, or an error.
Result<json> get_json(Shared& shared, const std::string& path) {
  try {
    beast::tcp_stream stream(shared.io);
    stream.expires_after(std::chrono::seconds(30));
    stream.connect(shared.endpoints);
    http::write(stream, make_http(shared.target, http::verb::get, path, ""));
    beast::flat_buffer buffer;
    http::response<http::string_body> response;
    http::read(stream, buffer, response);
    json j = json::parse(response.body(), nullptr, false);
    if (response.result_int() != 200 || j.is_discarded())
      return unavailable(fmt::format("GET {} answered {}", path, response.result_int()));
    return j;
  } catch (const std::exception& e) {
    return unavailable(
        fmt::format("GET {} from {}:{} (--base-url): {}", path, shared.target.host, shared.target.port, reason(e)));
  }
}

Status parse_url(const std::string& url, Target& target) {
  const std::string scheme = "http://";
  if (!url.starts_with(scheme))
    return invalid_argument(fmt::format("--base-url '{}': only http:// is spoken here", url), "--base-url");
  const std::string rest = url.substr(scheme.size()), server = rest.substr(0, rest.find('/')),
                    path = rest.substr(server.size());
  if (path != "" && path != "/" && path != "/v1" && path != "/v1/")
    return invalid_argument(fmt::format("--base-url '{}': the path {} belongs into --endpoint", url, path),
                            "--base-url");
  const size_t colon = server.find(':', server.find(']') + 1);  // an IPv6 address stands in brackets
  target.host = server.substr(0, colon);
  if (target.host.starts_with('[') && target.host.ends_with(']'))
    target.host = target.host.substr(1, target.host.size() - 2);
  target.port = colon == std::string::npos ? "80" : server.substr(colon + 1);
  int port = 0;
  const auto [end, error] = std::from_chars(target.port.data(), target.port.data() + target.port.size(), port);
  if (target.host.empty() || error != std::errc() || end != target.port.data() + target.port.size() || port < 1 ||
      port > 65535)
    return invalid_argument(fmt::format("--base-url '{}': http://HOST:PORT is wanted, the port from 1 to 65535", url),
                            "--base-url");
  return {};
}

constexpr int kChatWords = 1000;  // chat has no token ids: a message is made of that many words

/// Fills in the model's name and the size of its vocabulary where they are not known yet: the sizes that the server
/// lists under meta.n_vocab, as ours and llama.cpp's do.
Status ask_server(Shared& shared, int64_t& vocab_size) {
  SLUICE_TRY(const json models, get_json(shared, "/v1/models"));
  if (!models.is_object() || !models.contains("data") || !models["data"].is_array())
    return unavailable("GET /v1/models: the answer has no array \"data\"");
  for (const json& model : models["data"]) {
    if (!model.is_object() || !model.contains("id") || !model["id"].is_string()) continue;
    if (shared.target.model.empty()) shared.target.model = model["id"];
    if (model["id"] != shared.target.model) continue;
    if (const json size = model.value(json::json_pointer("/meta/n_vocab"), json());
        vocab_size == 0 && size.is_number_integer())
      vocab_size = size;
  }
  if (shared.target.model.empty()) return unavailable("the server lists no model; name it with --model");
  if (vocab_size < 1)
    return invalid_argument(
        fmt::format("the server does not say how many tokens the vocabulary of {} has; give it with --vocab-size",
                    shared.target.model),
        "--vocab-size");
  return {};
}

std::string request_body(const Target& target, const Request& request) {
  json body;
  body["model"] = target.model;
  if (target.chat) {
    std::string text;
    for (const TokenId t : request.prompt)
      text += fmt::format(" {}", t % kChatWords);  // words; their tokens are the server's to count
    body["messages"] = json::array({{{"role", "user"}, {"content", text}}});
  } else {
    body["prompt"] = request.prompt;
  }
  body["max_tokens"] = request.max_tokens;
  body["temperature"] = 0;
  body["ignore_eos"] = true;
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  return body.dump();
}

}  // namespace

Result<int> bench_serve(const std::vector<std::string>& args) {
  Shared shared;
  WorkloadFlags workload;
  std::string url = "http://127.0.0.1:8000", result_path;
  int64_t vocab_size = 0;
  OptionSet options(
      "sluice bench serve",
      "Sends a workload to an OpenAI-compatible server, streaming, and reports latencies and throughput.");
  options.add("--base-url", url, "the server");
  options.add("--endpoint", shared.target.endpoint,
              "path of the request; prompts are token ids, or words where it has \"chat\" in it");
  options.add("--model", shared.target.model, "model name; default: the first that the server lists");
  options.add("--api-key", shared.target.api_key, "sent as a bearer token");
  options.add("--vocab-size", vocab_size,
              "prompts are drawn from ids below this; 0: ask the server (/v1/models, meta.n_vocab)");
  options.add("--max-concurrency", shared.limit, "most requests in flight; 0: no cap");
  options.add("--timeout", shared.target.timeout_s, "seconds that one request may take");
  options.add("--result-file", result_path, "write the report as JSON too");
  workload.declare(options);
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  SLUICE_TRY_STATUS(workload.check_given(options));
  shared.target.chat = shared.target.endpoint.find("chat") != std::string::npos;
  SLUICE_TRY_STATUS(parse_url(url, shared.target));
  if (shared.limit < 0)
    return invalid_argument(fmt::format("--max-concurrency is {}; it must be at least 0", shared.limit),
                            "--max-concurrency");
  if (!(shared.target.timeout_s > 0 && shared.target.timeout_s < 1e9))
    return invalid_argument(fmt::format("--timeout is {}; it must be above 0 s and below 1e9", shared.target.timeout_s),
                            "--timeout");
  try {
    shared.endpoints = tcp::resolver(shared.io).resolve(shared.target.host, shared.target.port);
  } catch (const std::exception& e) {
    return unavailable(fmt::format("cannot find {} (--base-url): {}", url, reason(e)));
  }
  if (shared.target.chat && vocab_size == 0) vocab_size = kChatWords;
  if (shared.target.model.empty() || vocab_size == 0) SLUICE_TRY_STATUS(ask_server(shared, vocab_size));
  SLUICE_TRY(const Workload load, make_workload(workload, vocab_size));
  std::vector<RequestRecord> records(load.requests.size());
  std::vector<std::string> bodies;
  for (const Request& request : load.requests) bodies.push_back(request_body(shared.target, request));
  const Nanos start = shared.clock.now();
  for (size_t i = 0; i < records.size(); ++i) {
    records[i].prompt_tokens = static_cast<int>(load.requests[i].prompt.size());
    asio::co_spawn(shared.io, run_one(shared, start + load.arrivals[i], bodies[i], records[i]), asio::detached);
  }
  Progress progress("requests");
  while (shared.finished < records.size()) {
    shared.io.run_one();
    progress.update(static_cast<double>(shared.finished), static_cast<double>(records.size()));
  }
  const ServingReport report = make_report(records, workload.goodput, shared.clock.now() - start);
  std::fputs(printable(report.to_text(), true).c_str(), stdout);  // errors are quoted from the server
  if (!result_path.empty()) SLUICE_TRY_STATUS(write_text_file(result_path, report.to_json()));
  return report.failed == 0 ? 0 : 1;
}

}  // namespace sluice
