#pragma once
// Errors as OpenAI's API shows them: {"error": {"message", "type", "param", "code"}}. One table maps every ErrorCode.

#include <string>

#include "base/result.h"
#include "serve/http/http_message.h"

namespace sluice {

struct ApiError {
  ApiError(const Error& error);  // NOLINT: every Error is one
  ApiError(ErrorCode error_code, std::string message, std::string code, std::string param = {});

  int status = 500;
  std::string message, type;
  std::string param, code;  // null in the JSON where empty
  int retry_after_s = 1;    // under 429 and 503

  std::string json() const;
  /// With Retry-After where trying again makes sense.
  HttpResponse response() const;
};

int http_status(ErrorCode code);
/// The error for a bare HTTP status, as the HTTP server itself refuses a request.
std::string http_error_json(int status, const std::string& message);

}  // namespace sluice
