#include "serve/openai/modular_prompt.h"

#include <gtest/gtest.h>

#include <array>
#include <nlohmann/json.hpp>
#include <tuple>

#include "text/tokenizer/load_tokenizer.h"

namespace sluice {
namespace {

constexpr char kSchema[] = R"(<schema name="s">Lead.
<module name="a">One two three.</module>
<union><module name="b">Four.</module><module name="c">Five six seven eight nine.</module></union>
between
<module name="d">In <parameter name="days" tokens="9"/> we go.</module>
<scaffold modules="a d"/>
</schema>)";

class ModularPromptTest : public ::testing::Test {
 protected:
  ModularPromptTest() {
    tokenizer_ = load_tokenizer_directory(std::string(SLUICE_SOURCE_DIR) + "/tests/data/tokenizers/tok512").value();
    prompts_.schemas.push_back(lay_out(*parse_prompt_schema(kSchema, "s.xml"), *tokenizer_));
    prompts_.chunks = true;
  }
  std::vector<TokenId> encode(const std::string& text, bool add_special = false) const { return tokenizer_->encode(text, {.add_special = add_special}); }
  Result<ModularPrompt> assemble(const std::string& json, const std::string& own = "Go on") const {
    const Json body = parse_json(R"({"prompt_cache": )" + json + "}").value();
    FieldReader in(body);
    const auto fields = read_prompt_cache(in);
    if (in.failed()) return in.error();
    return prompts_.assemble(*fields, encode(own), *tokenizer_);
  }
  std::unique_ptr<Tokenizer> tokenizer_;
  ModularPrompts prompts_;
};

TEST_F(ModularPromptTest, PutsModulesInTheirPlacesAndTextBehindThem) {
  const auto prompt = assemble(R"({"schema": "s", "modules": ["b", {"name": "d", "parameters": {"days": "ten days"}}]})");
  ASSERT_TRUE(prompt.ok()) << prompt.error().message;
  const PromptLayout& s = prompts_.schemas[0];
  const auto& [a, b, c, between, d] = std::tie(s.modules[0], s.modules[1], s.modules[2], s.modules[3], s.modules[4]);
  // The lead, what everybody has, b and d, then the argument and the text.
  ASSERT_EQ(prompt->reuse.segments.size(), 3u);
  const int lead = static_cast<int>(s.lead.size());
  int at = lead;
  for (size_t i = 0; i < 3; ++i) {
    const PromptLayout::Module& m = *std::array{&b, &between, &d}[i];
    const KvSegment& segment = prompt->reuse.segments[i];
    EXPECT_EQ(segment.first, at);
    EXPECT_EQ(segment.lead, lead);
    EXPECT_EQ(segment.shift, 0);
    ASSERT_EQ(segment.tokens, static_cast<int>(m.tokens.size()));
    for (int k = 0; k < segment.tokens; ++k, ++at) {
      EXPECT_EQ(prompt->tokens[static_cast<size_t>(at)], m.tokens[static_cast<size_t>(k)]);
      EXPECT_EQ(prompt->reuse.positions[static_cast<size_t>(at)], m.positions[static_cast<size_t>(k)]);
    }
  }
  EXPECT_EQ(between.positions[0], c.end) << "the union is as long as its longest, taken or not";
  for (const TokenId token : encode("ten days")) {
    EXPECT_EQ(prompt->tokens[static_cast<size_t>(at)], token);
    EXPECT_EQ(prompt->reuse.positions[static_cast<size_t>(at)], d.parameters[0].first + at - prompt->reuse.segments[2].end());
    ++at;
  }
  int position = d.end;
  for (const TokenId token : encode("Go on")) {
    EXPECT_EQ(prompt->tokens[static_cast<size_t>(at)], token);
    EXPECT_EQ(prompt->reuse.positions[static_cast<size_t>(at++)], position++);
  }
  EXPECT_EQ(prompt->tokens.size(), static_cast<size_t>(at));
  EXPECT_EQ(prompt->reuse.recompute, 0);
  EXPECT_EQ(a.name, "a");
}

TEST_F(ModularPromptTest, AScaffoldIsOneSegment) {
  const auto prompt = assemble(R"({"schema": "s", "modules": ["a", "d"]})");
  ASSERT_TRUE(prompt.ok());
  ASSERT_EQ(prompt->reuse.segments.size(), 2u);
  EXPECT_EQ(prompt->reuse.segments[0].tokens, static_cast<int>(prompts_.schemas[0].modules[0].tokens.size() + prompts_.schemas[0].modules[4].tokens.size()));
}

TEST_F(ModularPromptTest, ModulesWithoutGapsStandWhereTheirTokensDo) {
  prompts_.schemas = {lay_out(*parse_prompt_schema("<schema name=\"s\"><module name=\"a\">One two.</module></schema>", "f"), *tokenizer_)};
  const auto prompt = assemble(R"({"schema": "s", "modules": ["a"]})");
  ASSERT_TRUE(prompt.ok());
  EXPECT_TRUE(prompt->reuse.positions.empty());
  std::vector<TokenId> whole = encode("", true);
  for (const char* part : {"One two.", "Go on"})
    for (const TokenId token : encode(part)) whole.push_back(token);
  EXPECT_EQ(prompt->tokens, whole);
}

TEST_F(ModularPromptTest, ChunksFollowThePreambleAndAreShifted) {
  const auto prompt = assemble(R"({"preamble": "Read.", "chunks": ["One two.", "Three."], "rule": "position"})");
  ASSERT_TRUE(prompt.ok());
  const int lead = static_cast<int>(encode("Read.", true).size()), one = static_cast<int>(encode("One two.").size());
  ASSERT_EQ(prompt->reuse.segments.size(), 2u);
  EXPECT_EQ(prompt->reuse.segments[0].shift, 0);
  EXPECT_EQ(prompt->reuse.segments[1].first, lead + one);
  EXPECT_EQ(prompt->reuse.segments[1].shift, one);
  EXPECT_EQ(prompt->reuse.rule, RecomputeRule::position);
  EXPECT_FLOAT_EQ(static_cast<float>(prompt->reuse.recompute), kDefaultChunkRecompute);
  EXPECT_TRUE(prompt->reuse.positions.empty());
}

TEST_F(ModularPromptTest, NeedsTextOfItsOwn) {
  const auto prompt = assemble(R"({"schema": "s", "modules": ["a"]})", "");
  ASSERT_FALSE(prompt.ok());
  EXPECT_EQ(prompt.error().param, "prompt");
}

}  // namespace
}  // namespace sluice
