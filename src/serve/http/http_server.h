#pragma once
// An HTTP/1.1 server on Boost.Asio: keep-alive, pipelining, chunked streaming, limits on everything. No thread per
// connection; handlers run on the I/O thread and must not block: they hand the work to another thread, which answers
// through the ResponseWriter.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "serve/http/http_message.h"

namespace sluice {

struct HttpOptions {
  int io_threads = 1;
  int max_connections = 1024;          // one more is answered 503 and closed
  size_t max_header_bytes = 32 << 10;  // 431 above
  size_t max_body_bytes = 16 << 20;    // 413 above
  size_t max_pending_bytes = 4 << 20;  // of a stream that its client does not read; above, the client is dropped
  std::chrono::milliseconds header_timeout{15'000};  // from the first byte of a request; then 408
  std::chrono::milliseconds body_timeout{60'000};    // from the end of its headers; then 408
  std::chrono::milliseconds idle_timeout{120'000};   // between requests; then the connection is closed
  std::chrono::milliseconds write_timeout{30'000};   // without a byte taken by the client; then it is dropped
  /// The body of the server's own refusals (400, 408, 413, 415, 431, 500, 501, 503), as JSON; a plain object when not
  /// set.
  std::function<std::string(int status, const std::string& message)> error_body;
};

/// Answers one request, from any thread: either respond(), or start_stream(), write()* and end(). The calls are queued
/// and never block. When the last reference goes away before the answer is complete, the client gets a 500 or, in a
/// stream, a broken connection, so that nobody waits for ever.
class ResponseWriter {
 public:
  virtual ~ResponseWriter() = default;
  virtual void respond(HttpResponse response) = 0;
  virtual void start_stream(int status, HttpHeaders headers) = 0;
  virtual void write(std::string chunk) = 0;
  virtual void end() = 0;
  /// Called once, on the I/O thread, when the client goes away before the answer is complete: it closes or half-closes
  /// the connection, or stops reading for too long. At once, if that has happened already.
  virtual void on_disconnect(std::function<void()> callback) = 0;
  virtual bool disconnected() const = 0;
};

using HttpHandler = std::function<void(HttpRequest request, std::shared_ptr<ResponseWriter> response)>;

class HttpCore;  // the I/O context and its connections

class HttpServer {
 public:
  /// Listens and serves from now on. Port 0 takes a free one. Errors: io, with the address.
  static Result<std::unique_ptr<HttpServer>> listen(const std::string& host, int port, HttpOptions options,
                                                    HttpHandler handler);
  /// Closes every connection and joins the threads. Writers that are still held elsewhere do nothing from then on.
  ~HttpServer();

  int port() const;
  /// Connections open now.
  int connections() const;
  /// Takes no new connection, closes the idle ones, and waits until the others have their answers; false when some have
  /// not at the end of `patience`.
  bool drain(std::chrono::milliseconds patience);

 private:
  explicit HttpServer(std::shared_ptr<HttpCore> core);
  std::shared_ptr<HttpCore> core_;
};

}  // namespace sluice
