#include "serve/openai/api_server.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "base/log.h"

namespace sluice {

namespace {

constexpr char kModelsPrefix[] = "/v1/models/";

bool is_request_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::ranges::all_of(id, [](char c) { return c > 0x20 && c < 0x7f; });
}

/// In a time that depends on the lengths only.
bool equal_secrets(std::string_view given, std::string_view expected) {
  unsigned char difference = given.size() == expected.size() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i)
    difference |= static_cast<unsigned char>(given[i] ^ (expected.empty() ? 0 : expected[i % expected.size()]));
  return difference == 0;
}

}  // namespace

struct ApiServer::Route {
  const char *method, *path;
  enum class Kind { open, on_io, generates, on_intake } kind;  // open: without a key, and before a model is there
  HttpResponse (*answer)(const ApiServer&, Endpoints*, const HttpRequest&);
  void (Endpoints::*generate)(const Exchange&);
};

Result<std::unique_ptr<ApiServer>> ApiServer::start(ApiOptions options) {
  options.http.error_body = http_error_json;
  std::unique_ptr<ApiServer> server(new ApiServer(std::move(options)));
  SLUICE_TRY(server->http_, HttpServer::listen(server->options_.host, server->options_.port, server->options_.http,
                                               [api = server.get()](HttpRequest request, auto writer) {
                                                 api->handle(std::move(request), std::move(writer));
                                               }));
  return server;
}

ApiServer::ApiServer(ApiOptions options)
    : options_(std::move(options)), intake_(options_.intake), output_(std::make_shared<Worker>()) {}

ApiServer::~ApiServer() {
  http_.reset();  // no request comes after this; those that run are cancelled
  intake_.stop();
  output_->stop();
}

void ApiServer::set_ready(ApiContext context) {
  set_model(std::make_shared<ServedModel>(std::move(context), options_.request_timeout, output_));
}

void ApiServer::set_ready(EncoderContext context) {
  set_model(std::make_shared<EncoderEndpoints>(std::move(context), options_.request_timeout, output_));
}

void ApiServer::set_model(std::shared_ptr<Endpoints> model) {
  std::lock_guard lock(mutex_);
  model_ = std::move(model);
}

std::shared_ptr<Endpoints> ApiServer::model() const {
  std::lock_guard lock(mutex_);
  return model_;
}

bool ApiServer::drain(std::chrono::milliseconds patience) {
  draining_ = true;
  if (const auto served = model()) served->close();
  return http_->drain(patience);
}

std::optional<std::string> ApiServer::client_of(const HttpRequest& request) const {
  if (options_.api_keys.empty()) return "";
  std::string_view given = request.header("authorization");
  constexpr std::string_view kScheme = "bearer ";
  if (given.size() < kScheme.size()) return std::nullopt;
  for (size_t i = 0; i < kScheme.size(); ++i)
    if (std::tolower(static_cast<unsigned char>(given[i])) != kScheme[i]) return std::nullopt;
  given.remove_prefix(kScheme.size());
  size_t found = 0;  // counted from 1; all are compared, so that the time says nothing
  for (size_t i = 0; i < options_.api_keys.size(); ++i)
    if (equal_secrets(given, options_.api_keys[i])) found = i + 1;
  return found > 0 ? std::optional(fmt::format("key{}", found)) : std::nullopt;
}

HttpResponse ApiServer::health() const {
  const auto served = model();
  if (served == nullptr) return ApiError(unavailable("the model is not loaded yet")).response();
  if (draining_) return ApiError(unavailable("the server is shutting down")).response();
  if (!served->healthy(options_.health_timeout.count()))
    return ApiError(unavailable(fmt::format("the engine has work and finished no step for {:g} s",
                                            options_.health_timeout.count() * 1e-9)))
        .response();
  return {200, {}, {}};
}

void ApiServer::handle(HttpRequest request, std::shared_ptr<ResponseWriter> writer) {
  using Kind = Route::Kind;
  static constexpr Route kRoutes[] = {
      {"GET", "/health", Kind::open, [](const ApiServer& s, Endpoints*, const HttpRequest&) { return s.health(); },
       nullptr},
      {"GET", "/ping", Kind::open, [](const ApiServer& s, Endpoints*, const HttpRequest&) { return s.health(); },
       nullptr},
      {"GET", "/version", Kind::open,
       [](const ApiServer& s, Endpoints*, const HttpRequest&) {
         return HttpResponse{200, {{"Content-Type", "application/json"}}, dump_json({{"version", s.options_.version}})};
       },
       nullptr},
      {"GET", "/metrics", Kind::open,
       [](const ApiServer&, Endpoints* m, const HttpRequest&) {
         return HttpResponse{200,
                             {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}},
                             m == nullptr ? std::string() : m->metrics()};
       },
       nullptr},
      {"GET", "/v1/models", Kind::on_io,
       [](const ApiServer&, Endpoints* m, const HttpRequest&) { return m->models(); }, nullptr},
      {"GET", kModelsPrefix, Kind::on_io,
       [](const ApiServer&, Endpoints* m, const HttpRequest& r) {
         return m->model(r.path.substr(std::string_view(kModelsPrefix).size()));
       },
       nullptr},
      {"POST", "/v1/completions", Kind::generates, nullptr, &Endpoints::completions},
      {"POST", "/v1/chat/completions", Kind::generates, nullptr, &Endpoints::chat_completions},
      {"POST", "/v1/embeddings", Kind::generates, nullptr, &Endpoints::embeddings},
      {"POST", "/v1/rerank", Kind::generates, nullptr, &Endpoints::rerank},
      {"POST", "/v2/rerank", Kind::generates, nullptr, &Endpoints::rerank},
      {"POST", "/rerank", Kind::generates, nullptr, &Endpoints::rerank},
      {"POST", "/tokenize", Kind::on_intake,
       [](const ApiServer&, Endpoints* m, const HttpRequest& r) { return m->tokenize(r); }, nullptr},
      {"POST", "/detokenize", Kind::on_intake,
       [](const ApiServer&, Endpoints* m, const HttpRequest& r) { return m->detokenize(r); }, nullptr},
  };
  auto exchange = std::make_shared<Exchange>();
  exchange->request = std::move(request);
  exchange->writer = std::move(writer);
  const HttpRequest& r = exchange->request;
  const std::string_view id = r.header("x-request-id");
  exchange->headers.emplace_back("X-Request-Id", is_request_id(id) ? std::string(id) : random_id());
  if (!options_.cors_origin.empty()) {
    exchange->headers.emplace_back("Access-Control-Allow-Origin", options_.cors_origin);
    exchange->headers.emplace_back("Access-Control-Expose-Headers", "X-Request-Id, X-Sluice-Warnings");
  }

  const std::string_view method = r.method == "HEAD" ? "GET" : std::string_view(r.method);
  std::string allowed;
  for (const Route& route : kRoutes) {
    const bool is_prefix = route.path == kModelsPrefix;
    if (is_prefix ? !(r.path.starts_with(route.path) && r.path.size() > std::string_view(route.path).size())
                  : r.path != route.path)
      continue;
    if (method == route.method) return dispatch(route, std::move(exchange));
    allowed = route.method == std::string_view("GET") ? "GET, HEAD, OPTIONS" : "POST, OPTIONS";
  }
  if (!allowed.empty() && method == "OPTIONS") {
    HttpResponse response{204, {{"Allow", allowed}}, {}};
    if (!options_.cors_origin.empty()) {
      response.headers.emplace_back("Access-Control-Allow-Methods", allowed);
      response.headers.emplace_back("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Request-Id");
    }
    return exchange->respond(std::move(response));
  }
  if (!allowed.empty()) {
    HttpResponse response{
        405,
        {{"Content-Type", "application/json"}, {"Allow", allowed}},
        http_error_json(405, fmt::format("{} does not take {}; it takes {}", r.path, r.method, allowed))};
    return exchange->respond(std::move(response));
  }
  exchange->respond(ApiError(not_found(fmt::format("there is nothing at {} {}", r.method, r.path))).response());
}

void ApiServer::dispatch(const Route& route, std::shared_ptr<Exchange> exchange) {
  const auto served = model();
  if (route.kind == Route::Kind::open) return exchange->respond(route.answer(*this, served.get(), exchange->request));
  const std::optional<std::string> client = client_of(exchange->request);
  if (!client) {
    HttpResponse response{401, {{"Content-Type", "application/json"}, {"WWW-Authenticate", "Bearer"}}, {}};
    ApiError error(ErrorCode::invalid_argument, "the API key is missing or wrong; send it as Authorization: Bearer KEY",
                   "invalid_api_key");
    response.body = error.json();
    return exchange->respond(std::move(response));
  }
  if (served == nullptr) return exchange->respond(ApiError(unavailable("the model is not loaded yet")).response());
  if (route.kind == Route::Kind::on_io) return exchange->respond(route.answer(*this, served.get(), exchange->request));
  exchange->arrival = served->clock().now();
  exchange->client = *client;
  const Status taken = intake_.post(exchange->request.body.size(), [this, &route, served, exchange] {
    if (exchange->writer->disconnected()) return;
    if (route.kind == Route::Kind::generates)
      ((*served).*route.generate)(*exchange);
    else
      exchange->respond(route.answer(*this, served.get(), exchange->request));
  });
  if (!taken.ok()) exchange->respond(ApiError(taken.error()).response());
}

}  // namespace sluice
