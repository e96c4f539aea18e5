#include "serve/openai/api_error.h"

#include <nlohmann/json.hpp>

#include "serve/openai/json_text.h"

namespace sluice {

namespace {

struct Row {
  ErrorCode error;
  int status;
  const char *type, *code;
};
constexpr Row kRows[] = {
    {ErrorCode::invalid_argument, 400, "invalid_request_error", ""},
    {ErrorCode::not_found, 404, "not_found_error", "not_found"},
    {ErrorCode::corrupt_data, 400, "invalid_request_error", ""},
    {ErrorCode::unsupported, 400, "invalid_request_error", "unsupported_value"},
    {ErrorCode::resource_exhausted, 429, "rate_limit_error", "rate_limit_exceeded"},
    {ErrorCode::unavailable, 503, "service_unavailable_error", "unavailable"},
    {ErrorCode::deadline_exceeded, 504, "timeout_error", "request_timeout"},
    {ErrorCode::cancelled, 503, "service_unavailable_error", "cancelled"},
    {ErrorCode::io, 500, "server_error", "io"},
    {ErrorCode::internal, 500, "server_error", "internal"},
};

const Row& row(ErrorCode code) {
  for (const Row& r : kRows)
    if (r.error == code) return r;
  return row(ErrorCode::internal);
}

std::string error_json(const std::string& message, const std::string& type, const std::string& param,
                       const std::string& code) {
  const auto or_null = [](const std::string& s) { return s.empty() ? Json() : Json(s); };
  return dump_json(
      {{"error", {{"message", message}, {"type", type}, {"param", or_null(param)}, {"code", or_null(code)}}}});
}

}  // namespace

ApiError::ApiError(const Error& error)
    : status(row(error.code).status),
      message(error.message),
      type(row(error.code).type),
      param(error.param),
      code(row(error.code).code) {}

ApiError::ApiError(ErrorCode error_code, std::string message, std::string code, std::string param)
    : ApiError(Error{error_code, std::move(message), std::move(param)}) {
  this->code = std::move(code);
}

std::string ApiError::json() const { return error_json(message, type, param, code); }

HttpResponse ApiError::response() const {
  HttpResponse response{status, {{"Content-Type", "application/json"}}, json()};
  if (status == 429 || status == 503) response.headers.emplace_back("Retry-After", std::to_string(retry_after_s));
  return response;
}

int http_status(ErrorCode code) { return row(code).status; }

std::string http_error_json(int status, const std::string& message) {
  const char* type = status == 503   ? "service_unavailable_error"
                     : status >= 500 ? "server_error"
                                     : "invalid_request_error";
  return error_json(message, type, {}, {});
}

}  // namespace sluice
