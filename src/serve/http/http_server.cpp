#include "serve/http/http_server.h"

#include <array>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <condition_variable>
#include <ctime>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_set>

#include "base/log.h"

namespace sluice {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using std::chrono::milliseconds;

namespace {

constexpr size_t kReadAhead_bytes = 64 << 10;  // taken from a client that sends on while its answer is pending
constexpr milliseconds kLinger{1'000};         // for the client to read the last answer before the connection is closed
constexpr milliseconds kAcceptRetry{100};      // after running out of file descriptors

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[64];
  return {text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

/// Header values come partly from clients (request ids): nothing in them may start a new line.
void append_header(std::string& head, std::string_view name, std::string_view value) {
  head.append(name).append(": ");
  for (const char c : value)
    if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) head += c;
  head += "\r\n";
}

using Header = http::request_header<>;

/// What the parser lets pass and we do not understand: a status and its reason, or status 0.
std::pair<int, std::string> header_problem(const Header& header) {
  const size_t hosts = header.count(http::field::host);
  if (hosts > 1 || (hosts == 0 && header.version() == 11))
    return {400, fmt::format("the request has {} Host headers; HTTP/1.1 has one", hosts)};
  std::string coding;
  for (auto [at, end] = header.equal_range(http::field::transfer_encoding); at != end; ++at)
    coding += (coding.empty() ? "" : ", ") + std::string(at->value());
  if (!coding.empty() && !beast::iequals(coding, "chunked"))
    return {501, fmt::format("Transfer-Encoding is {}; only chunked is understood", coding)};
  const std::string content(header[http::field::content_encoding]);
  if (!content.empty() && !beast::iequals(content, "identity"))
    return {415, fmt::format("Content-Encoding is {}; a body must not be encoded", content)};
  return {0, {}};
}

bool expects_continue(const Header& header) {
  return header.version() == 11 && beast::iequals(header[http::field::expect], "100-continue");
}

/// Path and query of a request's target, which may be written as "http://host/path" (RFC 9112, 3.2.2).
std::string_view origin_form(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!beast::iequals(target.substr(0, scheme.size()), scheme)) continue;
    const size_t path = target.find_first_of("/?", scheme.size());
    return path == std::string_view::npos ? "/" : target.substr(path);
  }
  return target;
}

}  // namespace

class Connection;

class HttpCore : public std::enable_shared_from_this<HttpCore> {
 public:
  HttpCore(HttpOptions options, HttpHandler handler)
      : options(std::move(options)),
        handler(std::move(handler)),
        acceptor(asio::make_strand(io)),
        accept_timer(acceptor.get_executor()) {}

  Status open(const std::string& host, int port);
  void start();
  void accept();
  bool drain(milliseconds patience);
  void stop();
  /// False when the server is draining.
  bool enter(std::shared_ptr<Connection> connection);
  void leave(const std::shared_ptr<Connection>& connection);
  std::string error_body(int status, const std::string& message) const {
    if (options.error_body) return options.error_body(status, message);
    return fmt::format(R"({{"error":{{"message":"{}"}}}})", message);
  }
  int count() const {
    std::lock_guard lock(mutex);
    return static_cast<int>(connections.size());
  }

  const HttpOptions options;
  const HttpHandler handler;
  asio::io_context io;
  // From start() to stop(), so that what is posted in between runs: after the last connection of a drain nothing else
  // keeps io.run() going, and a handler that stays queued would keep this alive in turn.
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work;
  tcp::acceptor acceptor;  // it and the timer on a strand of their own
  asio::steady_timer accept_timer;
  std::vector<std::thread> threads;
  int port = 0;
  std::atomic<bool> draining{false};
  mutable std::mutex mutex;  // guards what stands below
  std::condition_variable changed;
  std::unordered_set<std::shared_ptr<Connection>> connections;
};

/// One client. All members are touched on its strand only. Reading never stops while an answer is pending, which is how
/// the end of the connection is noticed.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, std::shared_ptr<HttpCore> core)
      : core_(std::move(core)), socket_(std::move(socket)), timer_(socket_.get_executor()) {}

  void start(bool too_many);
  void begin_drain();
  void close();

  // From the writer, by post(); `exchange` says which request it answers, so that a late call touches no other.
  void respond(uint64_t exchange, HttpResponse response);
  void start_stream(uint64_t exchange, int status, const HttpHeaders& headers);
  void write(uint64_t exchange, const std::string& chunk);
  void end(uint64_t exchange);
  void abandon(uint64_t exchange);
  void on_disconnect(uint64_t exchange, std::function<void()> callback);
  template <class F>
  void post(F f) {
    // Holds no reference to the connection: a call queued after the server's end must not keep the server alive.
    asio::post(socket_.get_executor(), [weak = weak_from_this(), f = std::move(f)]() mutable {
      if (const auto self = weak.lock()) f(*self);
    });
  }

 private:
  enum class Phase { reading, responding, streaming, lingering, closed };
  void new_request();
  void read();
  void on_read(error_code ec, size_t bytes);
  void parse();
  void dispatch();
  void refuse(int status, const std::string& message);
  std::string head(int status, const HttpHeaders& headers, std::optional<size_t> content_length);
  void flush();
  void write_some();
  void finish_exchange();
  void linger();
  void arm(milliseconds patience);
  void disarm() {
    ++armed_;
    timer_.cancel();
  }
  void on_timer();
  bool is_current(uint64_t exchange, Phase phase) const {
    return exchange == exchange_ && phase == phase_ && !finishing_;
  }

  const std::shared_ptr<HttpCore> core_;  // first: its I/O context outlives the socket and the timer
  tcp::socket socket_;
  asio::steady_timer timer_;
  uint64_t armed_ = 0;  // number of the latest arm(): an expiry of an earlier one is stale
  Phase phase_ = Phase::reading;
  std::array<char, 16 << 10> chunk_;
  std::string in_;  // received, not yet parsed
  std::optional<http::request_parser<http::string_body>> parser_;
  bool read_in_flight_ = false, started_ = false, continue_sent_ = false;
  uint64_t exchange_ = 0;
  bool keep_alive_ = false, is_head_ = false, is_http10_ = false;
  bool finishing_ = false;  // the answer is complete and only needs to be written
  bool write_in_flight_ = false;
  std::string out_, writing_;
  size_t written_ = 0;
  std::function<void()> on_disconnect_;
  std::weak_ptr<class ConnectionWriter> writer_;
};

class ConnectionWriter final : public ResponseWriter {
 public:
  ConnectionWriter(std::shared_ptr<Connection> connection, uint64_t exchange)
      : connection_(std::move(connection)), exchange_(exchange) {}
  ~ConnectionWriter() override {
    connection_->post([n = exchange_](Connection& c) { c.abandon(n); });
  }
  void respond(HttpResponse response) override {
    connection_->post([n = exchange_, r = std::move(response)](Connection& c) mutable { c.respond(n, std::move(r)); });
  }
  void start_stream(int status, HttpHeaders headers) override {
    connection_->post([n = exchange_, status, h = std::move(headers)](Connection& c) { c.start_stream(n, status, h); });
  }
  void write(std::string chunk) override {
    connection_->post([n = exchange_, chunk = std::move(chunk)](Connection& c) { c.write(n, chunk); });
  }
  void end() override {
    connection_->post([n = exchange_](Connection& c) { c.end(n); });
  }
  void on_disconnect(std::function<void()> callback) override {
    connection_->post(
        [n = exchange_, f = std::move(callback)](Connection& c) mutable { c.on_disconnect(n, std::move(f)); });
  }
  bool disconnected() const override { return gone_; }
  void set_disconnected() { gone_ = true; }

 private:
  const std::shared_ptr<Connection> connection_;
  const uint64_t exchange_;
  std::atomic<bool> gone_{false};
};

// --- Connection: the request ----------------------------------------------------------------------------------------

void Connection::start(bool too_many) {
  if (phase_ == Phase::closed) return;
  error_code ignored;
  socket_.set_option(tcp::no_delay(true), ignored);
  if (too_many) {
    refuse(503, "too many connections; try again later");
    return read();
  }
  new_request();
  arm(core_->options.header_timeout);
  read();
}

void Connection::new_request() {
  phase_ = Phase::reading;
  ++exchange_;
  started_ = continue_sent_ = finishing_ = is_head_ = is_http10_ = false;
  parser_.emplace();
  parser_->eager(true);
  parser_->header_limit(static_cast<uint32_t>(core_->options.max_header_bytes));
  parser_->body_limit(core_->options.max_body_bytes);
}

void Connection::read() {
  if (read_in_flight_ || phase_ == Phase::closed) return;
  if (phase_ != Phase::reading && in_.size() >= kReadAhead_bytes) return;
  read_in_flight_ = true;
  socket_.async_read_some(asio::buffer(chunk_),
                          [self = shared_from_this()](error_code ec, size_t bytes) { self->on_read(ec, bytes); });
}

void Connection::on_read(error_code ec, size_t bytes) {
  read_in_flight_ = false;
  if (phase_ == Phase::closed) return;
  if (ec) {
    // A client that shut down its sending side may still read the answer when there is one.
    if (ec == asio::error::eof && finishing_ && phase_ != Phase::lingering) {
      keep_alive_ = false;
      return;
    }
    return close();
  }
  if (phase_ != Phase::lingering) in_.append(chunk_.data(), bytes);
  if (phase_ == Phase::reading) parse();
  read();
}

void Connection::parse() {
  while (!started_ && !in_.empty() && (in_.front() == '\r' || in_.front() == '\n')) in_.erase(0, 1);
  if (in_.empty()) return;
  if (!started_) {
    started_ = true;
    arm(core_->options.header_timeout);
  }
  const bool had_header = parser_->is_header_done();
  error_code ec;
  const size_t used = parser_->put(asio::buffer(in_), ec);
  in_.erase(0, used);
  if (ec == http::error::header_limit)
    return refuse(431, fmt::format("the request's headers exceed {} bytes", core_->options.max_header_bytes));
  if (ec == http::error::body_limit)
    return refuse(413, fmt::format("the request's body exceeds {} bytes", core_->options.max_body_bytes));
  if (ec && ec != http::error::need_more) return refuse(400, "malformed HTTP: " + ec.message());
  if (parser_->is_header_done() && !had_header)
    if (const auto [status, problem] = header_problem(parser_->get()); status != 0) return refuse(status, problem);
  if (parser_->is_done()) return dispatch();
  if (in_.size() > core_->options.max_header_bytes) return refuse(400, "malformed HTTP: a chunk's header has no end");
  if (parser_->is_header_done() && !had_header) arm(core_->options.body_timeout);
  if (parser_->is_header_done() && !continue_sent_ && expects_continue(parser_->get())) {
    continue_sent_ = true;
    out_ += "HTTP/1.1 100 Continue\r\n\r\n";
    flush();
  }
}

void Connection::dispatch() {
  disarm();
  phase_ = Phase::responding;
  auto message = parser_->release();
  is_head_ = message.method() == http::verb::head;
  is_http10_ = message.version() == 10;
  keep_alive_ = message.keep_alive();
  HttpRequest request;
  request.method = message.method_string();
  const std::string_view target = origin_form({message.target().data(), message.target().size()});
  const size_t question = target.find('?');
  request.path = question == 0 ? "/" : percent_decode(target.substr(0, question));
  if (question != std::string_view::npos) request.query = target.substr(question + 1);
  for (const auto& field : message) {
    std::string name(field.name_string());
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    request.headers.emplace_back(std::move(name), std::string(field.value()));
  }
  request.body = std::move(message.body());
  const auto writer = std::make_shared<ConnectionWriter>(shared_from_this(), exchange_);
  writer_ = writer;
  core_->handler(std::move(request), writer);
}

/// Answers by ourselves, and closes: what follows in the stream cannot be trusted.
void Connection::refuse(int status, const std::string& message) {
  keep_alive_ = false;
  phase_ = Phase::responding;
  finishing_ = false;
  in_.clear();
  HttpResponse response{status, {{"Content-Type", "application/json"}}, core_->error_body(status, message)};
  if (status == 503) response.headers.emplace_back("Retry-After", "1");
  respond(exchange_, std::move(response));
}

// --- Connection: the answer -----------------------------------------------------------------------------------------

std::string Connection::head(int status, const HttpHeaders& headers, std::optional<size_t> content_length) {
  if (core_->draining) keep_alive_ = false;
  if (!content_length && is_http10_)
    keep_alive_ = false;  // HTTP/1.0 has no chunks: the end of the stream ends the body
  const auto reason = http::obsolete_reason(static_cast<http::status>(status));
  std::string text = fmt::format("HTTP/1.1 {} {}\r\n", status, std::string_view(reason.data(), reason.size()));
  append_header(text, "Date", http_date());
  append_header(text, "Server", "sluice");
  for (const auto& [name, value] : headers) append_header(text, name, value);
  if (content_length && status != 204) append_header(text, "Content-Length", std::to_string(*content_length));
  if (!content_length && !is_http10_) append_header(text, "Transfer-Encoding", "chunked");
  if (!keep_alive_)
    append_header(text, "Connection", "close");
  else if (is_http10_)
    append_header(text, "Connection", "keep-alive");
  return text + "\r\n";
}

void Connection::respond(uint64_t exchange, HttpResponse response) {
  if (!is_current(exchange, Phase::responding)) return;
  out_ += head(response.status, response.headers, response.body.size());
  if (!is_head_ && response.status != 204) out_ += response.body;
  finishing_ = true;
  flush();
}

void Connection::start_stream(uint64_t exchange, int status, const HttpHeaders& headers) {
  if (!is_current(exchange, Phase::responding)) return;
  phase_ = Phase::streaming;
  out_ += head(status, headers, std::nullopt);
  flush();
}

void Connection::write(uint64_t exchange, const std::string& chunk) {
  if (!is_current(exchange, Phase::streaming) || chunk.empty()) return;
  if (is_http10_)
    out_ += chunk;
  else
    out_ += fmt::format("{:x}\r\n{}\r\n", chunk.size(), chunk);
  if (out_.size() + writing_.size() - written_ > core_->options.max_pending_bytes) return close();
  flush();
}

void Connection::end(uint64_t exchange) {
  if (!is_current(exchange, Phase::streaming)) return;
  if (!is_http10_) out_ += "0\r\n\r\n";
  finishing_ = true;
  flush();
}

void Connection::abandon(uint64_t exchange) {
  if (is_current(exchange, Phase::streaming)) return close();
  if (!is_current(exchange, Phase::responding)) return;
  log_error("a request was dropped without an answer");
  refuse(500, "the server dropped this request without an answer");
}

void Connection::on_disconnect(uint64_t exchange, std::function<void()> callback) {
  if (exchange != exchange_ || finishing_) return;
  if (phase_ == Phase::closed) return callback();
  on_disconnect_ = std::move(callback);
}

void Connection::flush() {
  if (write_in_flight_ || phase_ == Phase::closed) return;
  if (out_.empty()) {
    if (finishing_) finish_exchange();
    return;
  }
  writing_.swap(out_);
  out_.clear();
  written_ = 0;
  write_some();
}

void Connection::write_some() {
  write_in_flight_ = true;
  if (phase_ != Phase::reading) arm(core_->options.write_timeout);
  socket_.async_write_some(asio::buffer(writing_.data() + written_, writing_.size() - written_),
                           [self = shared_from_this()](error_code ec, size_t bytes) {
                             self->write_in_flight_ = false;
                             if (self->phase_ == Phase::closed) return;
                             if (ec) return self->close();
                             self->written_ += bytes;
                             if (self->written_ < self->writing_.size()) return self->write_some();
                             self->writing_.clear();
                             self->written_ = 0;
                             if (self->phase_ != Phase::reading) self->disarm();
                             self->flush();
                           });
}

void Connection::finish_exchange() {
  on_disconnect_ = nullptr;
  if (!keep_alive_ || core_->draining) return linger();
  new_request();
  arm(core_->options.idle_timeout);
  parse();
  read();
}

/// Closing a socket with unread bytes resets it, and the client may lose the answer: so its end is awaited for a
/// moment.
void Connection::linger() {
  phase_ = Phase::lingering;
  in_.clear();
  error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  arm(kLinger);
  read();
}

void Connection::begin_drain() {
  if (phase_ == Phase::reading && !started_) close();
}

void Connection::close() {
  if (phase_ == Phase::closed) return;
  const bool unanswered = (phase_ == Phase::responding || phase_ == Phase::streaming) && !finishing_;
  phase_ = Phase::closed;
  disarm();
  error_code ignored;
  socket_.close(ignored);
  if (const auto writer = writer_.lock(); writer && unanswered) writer->set_disconnected();
  const auto callback = std::exchange(on_disconnect_, nullptr);
  core_->leave(shared_from_this());
  if (callback && unanswered) callback();
}

void Connection::arm(milliseconds patience) {
  timer_.expires_after(patience);
  timer_.async_wait([self = shared_from_this(), n = ++armed_](error_code ec) {
    if (!ec && n == self->armed_) self->on_timer();
  });
}

void Connection::on_timer() {
  if (phase_ == Phase::reading && started_) return refuse(408, "the request did not arrive in time");
  close();
}

// --- HttpCore -------------------------------------------------------------------------------------------------------

Status HttpCore::open(const std::string& host, int port) {
  const std::string place = fmt::format("listen on {} port {}", host, port);
  if (port < 0 || port > 65535) return invalid_argument(place + ": a port is a number from 0 to 65535", "port");
  error_code ec;
  tcp::resolver resolver(io);
  const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, ec);
  if (ec || found.empty()) return io_error(fmt::format("{}: {}", place, ec.message()));
  const tcp::endpoint endpoint = found.begin()->endpoint();
  acceptor.open(endpoint.protocol(), ec);
  if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor.bind(endpoint, ec);
  if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
  if (ec == asio::error::address_in_use) return io_error(fmt::format("{}: {}; take another port (0: any that is free)", place, ec.message()));
  if (ec) return io_error(fmt::format("{}: {}", place, ec.message()));
  this->port = acceptor.local_endpoint(ec).port();
  return {};
}

void HttpCore::start() {
  work.emplace(io.get_executor());
  accept();
  for (int i = 0; i < std::max(1, options.io_threads); ++i) threads.emplace_back([this] { io.run(); });
}

void HttpCore::accept() {
  acceptor.async_accept(asio::make_strand(io), [self = shared_from_this()](error_code ec, tcp::socket socket) {
    if (ec == asio::error::operation_aborted || !self->acceptor.is_open()) return;
    if (ec) {
      self->accept_timer.expires_after(kAcceptRetry);
      return self->accept_timer.async_wait([self](error_code stopped) {
        if (!stopped) self->accept();
      });
    }
    const auto connection = std::make_shared<Connection>(std::move(socket), self);
    const bool too_many = self->count() >= self->options.max_connections;
    if (!self->enter(connection)) return;
    connection->post([too_many](Connection& c) { c.start(too_many); });
    self->accept();
  });
}

bool HttpCore::enter(std::shared_ptr<Connection> connection) {
  std::lock_guard lock(mutex);
  if (draining) return false;
  connections.insert(std::move(connection));
  return true;
}

void HttpCore::leave(const std::shared_ptr<Connection>& connection) {
  std::lock_guard lock(mutex);
  connections.erase(connection);
  changed.notify_all();
}

bool HttpCore::drain(milliseconds patience) {
  std::unique_lock lock(mutex);
  draining = true;
  asio::post(acceptor.get_executor(), [self = shared_from_this()] {
    error_code ignored;
    self->acceptor.close(ignored);
    self->accept_timer.cancel();
  });
  for (const auto& connection : connections) connection->post([](Connection& c) { c.begin_drain(); });
  return changed.wait_for(lock, patience, [&] { return connections.empty(); });
}

void HttpCore::stop() {
  drain(milliseconds(0));
  {
    std::lock_guard lock(mutex);
    for (const auto& connection : connections) connection->post([](Connection& c) { c.close(); });
  }
  work.reset();
  // Without work io.run() returns by itself: every handler has run, so none keeps a connection alive.
  for (std::thread& thread : threads) thread.join();
}

// --- HttpServer -----------------------------------------------------------------------------------------------------

HttpServer::HttpServer(std::shared_ptr<HttpCore> core) : core_(std::move(core)) {}

Result<std::unique_ptr<HttpServer>> HttpServer::listen(const std::string& host, int port, HttpOptions options,
                                                       HttpHandler handler) {
  auto core = std::make_shared<HttpCore>(std::move(options), std::move(handler));
  SLUICE_TRY_STATUS(core->open(host, port));
  core->start();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(core)));
}

HttpServer::~HttpServer() { core_->stop(); }

int HttpServer::port() const { return core_->port; }

int HttpServer::connections() const { return core_->count(); }

bool HttpServer::drain(milliseconds patience) { return core_->drain(patience); }

}  // namespace sluice
