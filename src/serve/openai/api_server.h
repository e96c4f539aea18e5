#pragma once
// The OpenAI-compatible server: HTTP, keys, routing, health, and the threads between the sockets and the engine.
//
// It listens before the model is loaded (/health answers 503) and serves from set_ready() on. Nothing but routing
// happens on the I/O thread: the intake parses, renders and tokenizes, and a worker detokenizes and formats what the
// engine samples.

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "serve/http/http_server.h"
#include "serve/openai/intake.h"
#include "serve/openai/encoder_endpoints.h"
#include "serve/openai/served_model.h"

namespace sluice {

struct ApiOptions {
  std::string host = "127.0.0.1";
  int port = 8000;                                          // 0: a free one
  std::vector<std::string> api_keys;                        // none: no key is asked for
  std::string cors_origin;                                  // Access-Control-Allow-Origin; empty: no CORS
  std::chrono::nanoseconds request_timeout{0};              // from a request's arrival, then 504; 0: none
  std::chrono::nanoseconds health_timeout{60'000'000'000};  // without a step while there is work: /health is 503
  std::string version = "0.1.0";
  IntakeLimits intake;  // 429 above
  HttpOptions http;     // error_body is filled in
};

class ApiServer {
 public:
  static Result<std::unique_ptr<ApiServer>> start(ApiOptions options);
  /// Stop the engine's loop before: the server's metrics observe it. The engine itself outlives the server.
  ~ApiServer();

  int port() const { return http_->port(); }
  /// Serves this model from now on. Once, and before the engine's first step.
  void set_ready(ApiContext context);
  void set_ready(EncoderContext context);
  /// Refuses new requests and connections, and waits until those that run have their answers; false when some have not
  /// at the end of `patience`. Destroying the server afterwards cuts them off.
  bool drain(std::chrono::milliseconds patience);

 private:
  struct Route;
  explicit ApiServer(ApiOptions options);
  void handle(HttpRequest request, std::shared_ptr<ResponseWriter> writer);
  void dispatch(const Route& route, std::shared_ptr<Exchange> exchange);
  /// Who sends it: "key1" for the first of the keys and so on, "" where none is asked for; nothing when none fits.
  std::optional<std::string> client_of(const HttpRequest& request) const;
  HttpResponse health() const;
  void set_model(std::shared_ptr<Endpoints> model);
  std::shared_ptr<Endpoints> model() const;

  const ApiOptions options_;
  Intake intake_;
  std::shared_ptr<Worker> output_;
  mutable std::mutex mutex_;  // guards model_
  std::shared_ptr<Endpoints> model_;
  std::atomic<bool> draining_{false};
  std::unique_ptr<HttpServer> http_;
};

}  // namespace sluice
