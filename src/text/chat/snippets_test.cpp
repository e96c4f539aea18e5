// Replays tests/data/jinja/snippets.json, made with jinja2 by tests/golden/make_jinja_golden.py.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "text/chat/chat_template.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

Json load_snippets() {
  std::ifstream in(SLUICE_SOURCE_DIR "/tests/data/jinja/snippets.json");
  return Json::parse(in);
}

TEST(JinjaSnippets, RenderAsJinja2DoesOrFailWhereItFails) {
  const Json golden = load_snippets();
  Json extra = golden["context"];
  const Json messages = extra["messages"];
  extra.erase("messages");
  ChatInputs inputs;
  inputs.messages = &messages;
  inputs.extra = &extra;
  inputs.now_local_s = golden["now_local_s"].get<int64_t>();
  ASSERT_GT(golden["cases"].size(), 3000u);
  for (const auto& item : golden["cases"]) {
    const auto source = item["template"].get<std::string>();
    const auto parsed = ChatTemplate::parse(source, "snippet");
    const auto rendered = parsed.ok() ? (*parsed)->render(inputs) : Result<RenderedChat>(parsed.error());
    if (item.contains("output")) {
      EXPECT_TRUE(rendered.ok()) << source << "\n  " << rendered.error().message;
      EXPECT_EQ(rendered.ok() ? rendered->text() : "", item["output"].get<std::string>()) << source;
      continue;
    }
    const auto kind = item["error_type"].get<std::string>(), message = item["error"].get<std::string>();
    EXPECT_FALSE(rendered.ok()) << source << "\n  rendered as: " << (rendered.ok() ? rendered->text() : "")
                                << "\n  but " << kind << ": " << message;
    // What a template's author or a client is told; Python's own wording of type errors is not promised.
    if (!rendered.ok() && (kind == "UndefinedError" || kind == "SecurityError" || kind == "TemplateError")) {
      EXPECT_NE(rendered.error().message.find(message), std::string::npos)
          << source << "\n  " << rendered.error().message;
    }
  }
}

}  // namespace
}  // namespace sluice
