// "echo" with "logprobs": the prompt's own tokens, as OpenAI's completions gave them.

#include <gtest/gtest.h>

#include <map>

#include "serve/openai/choice.h"
#include "tests/support/api_calls.h"

namespace sluice {
namespace {

using test::complete;
using test::stream;
using test::ToyServer;

TEST(PromptLogprobs, EchoesLogprobsOfThePrompt) {
  ToyServer server;
  const std::vector<std::string> names = {"tokens", "token_logprobs", "text_offset", "top_logprobs"};
  const Json body = {{"prompt", {"Once upon", "a \u00e9 day"}}, {"n", 2}, {"max_tokens", 5}, {"logprobs", 2}};
  const Json plain = complete(server, body);
  Json echo = body;
  echo["echo"] = true;
  const Json answer = complete(server, echo);
  EXPECT_EQ(answer["usage"], plain["usage"]) << "nothing is taken from the prefix cache";
  ASSERT_EQ(answer["choices"].size(), 4u);
  for (int c = 0; c < 4; ++c) {
    SCOPED_TRACE(c);
    const std::string prompt = body["prompt"][c / 2];
    const std::vector<TokenId> ids = server.tokenizer->encode(prompt);
    const size_t n = ids.size(), code_points = count_code_points(prompt);
    const Json& got = answer["choices"][c]["logprobs"];
    const Json& rest = plain["choices"][c]["logprobs"];
    EXPECT_EQ(answer["choices"][c]["text"], prompt + plain["choices"][c]["text"].get<std::string>());
    for (const std::string& name : names) ASSERT_EQ(got[name].size(), n + 5) << name;
    ASSERT_EQ(ids[0], server.tokenizer->bos());
    EXPECT_TRUE(got["token_logprobs"][0].is_null() && got["top_logprobs"][0].is_null());
    EXPECT_EQ(got["text_offset"][0], 0);
    EXPECT_EQ(got["text_offset"][1], 0) << "BOS is no part of the text";
    std::string spelled;
    for (size_t i = 1; i < n; ++i) {
      EXPECT_EQ(got["token_logprobs"][i], test::ToyExecutor::prompt_logprob(static_cast<int>(i)));
      EXPECT_EQ(got["tokens"][i], server.tokenizer->token_bytes(ids[i]));
      EXPECT_GE(got["top_logprobs"][i].size(), 2u) << "two, and the token itself, which may be one of them";
      EXPECT_EQ(got["top_logprobs"][i][got["tokens"][i].get<std::string>()], got["token_logprobs"][i]);
      // sentencepiece's own space before the text is none of it
      if (i > 1) {
        EXPECT_EQ(got["text_offset"][i], count_code_points(spelled) - 1);
      }
      spelled += server.tokenizer->token_bytes(ids[i]);
    }
    EXPECT_EQ(spelled, " " + prompt);
    for (size_t i = 0; i < 5; ++i) {
      for (const char* name : {"tokens", "token_logprobs", "top_logprobs"}) EXPECT_EQ(got[name][n + i], rest[name][i]);
      EXPECT_EQ(got["text_offset"][n + i], rest["text_offset"][i].get<size_t>() + code_points);
    }
  }

  // Streamed it is the same, and told before what was sampled.
  std::map<int, std::string> texts;
  std::map<int, Json> logprobs;
  for (const Json& event : stream(server, "/v1/completions", echo))
    for (const Json& choice : event["choices"]) {
      texts[choice["index"]] += choice["text"].get<std::string>();
      if (choice["logprobs"].is_null()) continue;
      for (const std::string& name : names)
        for (const Json& one : choice["logprobs"][name]) logprobs[choice["index"]][name].push_back(one);
    }
  for (int c = 0; c < 4; ++c) {
    EXPECT_EQ(texts[c], answer["choices"][c]["text"]);
    for (const std::string& name : names) EXPECT_EQ(logprobs[c][name], answer["choices"][c]["logprobs"][name]) << name;
  }

  // A prompt of tokens, and nothing but the prompt.
  const Json only = complete(
      server, {{"prompt", server.tokenizer->encode("Once upon")}, {"max_tokens", 0}, {"echo", true}, {"logprobs", 0}});
  EXPECT_EQ(only["choices"][0]["text"], "Once upon");
  EXPECT_EQ(only["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(only["usage"]["completion_tokens"], 0);
  const size_t tokens = server.tokenizer->encode("Once upon").size();
  EXPECT_EQ(only["choices"][0]["logprobs"]["token_logprobs"].size(), tokens);
  EXPECT_EQ(only["choices"][0]["logprobs"]["text_offset"], [&] {
    Json offsets = answer["choices"][0]["logprobs"]["text_offset"];
    offsets.erase(offsets.begin() + static_cast<long>(tokens), offsets.end());
    return offsets;
  }());
  EXPECT_EQ(complete(server, {{"prompt", "x"}, {"max_tokens", 0}}, 400)["error"]["param"], "max_tokens");
}

}  // namespace
}  // namespace sluice
