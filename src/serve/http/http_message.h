#pragma once
// One HTTP exchange as plain data.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;   // as sent: GET, POST, ...
  std::string path;     // percent-decoded, without the query
  std::string query;    // as sent, without the '?'
  HttpHeaders headers;  // names in lower case
  std::string body;

  /// Empty when absent; the name in lower case.
  std::string_view header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  HttpHeaders headers;  // Content-Length, Connection, Date and Server are added
  std::string body;
};

/// "%41b" -> "Ab"; an escape that is none stays as it is.
std::string percent_decode(std::string_view text);

}  // namespace sluice
