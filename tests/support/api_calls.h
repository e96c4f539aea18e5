#pragma once
// Calls of the API with their answers as JSON, checked for what all answers have in common.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/toy_server.h"

namespace sluice::test {

inline Json post(ToyServer& server, std::string_view path, const Json& body, int status = 200) {
  const HttpAnswer answer = server.call("POST", path, body.dump());
  EXPECT_EQ(answer.status, status) << answer.body;
  EXPECT_EQ(answer.headers.at("content-type"), "application/json");
  return Json::parse(answer.body);
}
inline Json complete(ToyServer& server, const Json& body, int status = 200) {
  return post(server, "/v1/completions", body, status);
}
inline Json chat(ToyServer& server, Json body, int status = 200) {
  if (!body.contains("messages")) body["messages"] = Json::parse(R"([{"role": "user", "content": "hello"}])");
  return post(server, "/v1/chat/completions", body, status);
}

/// The events of a stream, checked for their framing; without the final [DONE].
inline std::vector<Json> stream_events(const HttpAnswer& answer) {
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_TRUE(answer.complete);
  EXPECT_EQ(answer.headers.at("content-type"), "text/event-stream; charset=utf-8");
  std::vector<Json> events;
  bool done = false;
  for (size_t at = 0; at < answer.body.size();) {
    const size_t end = answer.body.find("\n\n", at);
    EXPECT_NE(end, std::string::npos);
    const std::string line = answer.body.substr(at, end - at);
    EXPECT_TRUE(line.starts_with("data: ")) << line;
    EXPECT_FALSE(done);
    if (line == "data: [DONE]")
      done = true;
    else
      events.push_back(Json::parse(line.substr(6)));
    at = end + 2;
  }
  EXPECT_TRUE(done);
  return events;
}
inline std::vector<Json> stream(ToyServer& server, std::string_view path, Json body) {
  body["stream"] = true;
  return stream_events(server.call("POST", path, body.dump()));
}

}  // namespace sluice::test
