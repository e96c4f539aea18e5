#include "text/schema/prompt_schema.h"

#include <gtest/gtest.h>

#include <tuple>

#include "base/rng.h"
#include "text/schema/prompt_layout.h"
#include "text/tokenizer/load_tokenizer.h"

namespace sluice {
namespace {

constexpr char kTravel[] = R"(<?xml version="1.0"?>
<!-- plans -->
<schema name="travel">
You plan trips & answer <briefly>.
  <module name="rules">
Be polite.
  </module>
  <union>
    <module name="paris">Paris has a tower.</module>
    <module name="rome">Rome has a very old forum, and &lt;b&gt;no&lt;/b&gt; tower.</module>
  </union>
  <module name="plan">For <parameter name="days" tokens="6"/> days, with <parameter name="who" tokens="4"/>.</module>
  <scaffold modules="rules plan"/>
</schema>
)";

std::string error_of(const std::string& text) {
  const auto parsed = parse_prompt_schema(text, "f.xml");
  return parsed.ok() ? "" : parsed.error().message;
}

TEST(PromptSchema, ReadsModulesUnionsParametersAndScaffolds) {
  std::string text = kTravel;
  text.replace(text.find("<briefly>"), 9, "<|briefly|>");  // no tag: text
  const auto parsed = parse_prompt_schema(text, "travel.xml");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(parsed->name, "travel");
  ASSERT_EQ(parsed->modules.size(), 5u);
  EXPECT_EQ(parsed->modules[0].name, "");
  EXPECT_EQ(parsed->modules[0].parts[0].text, "You plan trips & answer <|briefly|>.");
  EXPECT_EQ(parsed->modules[1].parts[0].text, "Be polite.");
  EXPECT_EQ(parsed->modules[1].union_number, -1);
  EXPECT_EQ(parsed->modules[2].union_number, parsed->modules[3].union_number);
  EXPECT_EQ(parsed->modules[3].parts[0].text, "Rome has a very old forum, and <b>no</b> tower.");
  const SchemaModule& plan = parsed->modules[4];
  ASSERT_EQ(plan.parts.size(), 5u);
  EXPECT_EQ(plan.parts[0].text, "For ");
  EXPECT_EQ(plan.parts[1].parameter, "days");
  EXPECT_EQ(plan.parts[1].tokens, 6);
  EXPECT_EQ(plan.parts[2].text, " days, with ");
  EXPECT_EQ(plan.parts[4].text, ".");
  EXPECT_EQ(parsed->scaffolds, (std::vector<std::vector<std::string>>{{"rules", "plan"}}));
}

TEST(PromptSchema, ErrorsNameFileAndLine) {
  const auto says = [](const std::string& text, std::string_view what) {
    const std::string message = error_of(text);
    EXPECT_NE(message.find(what), std::string::npos) << "'" << message << "' for\n" << text;
  };
  says("", "f.xml:1: a schema begins with <schema");
  says("hello <schema name=\"a\"></schema>", "f.xml:1: a schema begins");
  says("<schema>\n</schema>", "f.xml:1: <schema> needs a name");
  says("<schema name=\"a b\"></schema>", "letters");
  says("<schema name=\"a\">\n<module name=\"m\">x", "f.xml:2: the module m that begins here does not end");
  says("<schema name=\"a\">\n", "f.xml:1: the <schema> that begins here does not end");
  says("<schema name=\"a\">\n\n<modul name=\"m\">x</modul></schema>", "f.xml:3: <modul> is not known");
  says("<schema name=\"a\"><module name=\"m\">x</module>\n<module name=\"m\">y</module></schema>", "f.xml:2: there is a module m in line 1 already");
  says("<schema name=\"a\"><module>x</module></schema>", "<module> needs a name");
  says("<schema name=\"a\"><module name=\"m\"></module></schema>", "the module m is empty");
  says("<schema name=\"a\"><module name=\"m\">a<module name=\"n\">b</module></module></schema>", "within the module m");
  says("<schema name=\"a\"><module name=\"m\"><parameter name=\"p\"/></module></schema>", "the parameter p needs tokens");
  says("<schema name=\"a\"><module name=\"m\"><parameter name=\"p\" tokens=\"0\"/></module></schema>", "from 1 to 4096");
  says("<schema name=\"a\"><module name=\"m\"><parameter name=\"p\" tokens=\"99999999999\"/></module></schema>", "from 1 to 4096");
  says("<schema name=\"a\"><module name=\"m\"><parameter name=\"p\" tokens=\"3\">x</parameter></module></schema>", "a parameter holds nothing");
  says("<schema name=\"a\"><module name=\"m\"><parameter name=\"p\" tokens=\"3\"/><parameter name=\"p\" tokens=\"3\"/></module></schema>", "two parameters p");
  says("<schema name=\"a\"><parameter name=\"p\" tokens=\"3\"/></schema>", "stands within a <module>");
  says("<schema name=\"a\"><union><module name=\"m\">x</module></union></schema>", "at least two");
  says("<schema name=\"a\"><union>text<module name=\"m\">x</module></union></schema>", "text outside of its modules");
  says("<schema name=\"a\"><scaffold modules=\"x y\"/></schema>", "the scaffold names x, which is no module");
  says("<schema name=\"a\"><union><module name=\"m\">x</module><module name=\"n\">y</module></union><scaffold modules=\"m n\"/></schema>", "never used together");
  says("<schema name=\"a\" colour=\"b\"></schema>", "no attribute colour");
  says("<schema name=\"a\" name=\"b\"></schema>", "given twice");
  says("<schema name=a></schema>", "double quotes");
  says("<schema name=\"a></schema>", "does not end");
  says("<schema name=\"a\"><!-- no end", "the comment that begins here");
  says("<schema name=\"a\"></schema> more", "behind </schema>");
}

TEST(PromptSchema, HostileTextIsRefusedOrReadButNeverCrashes) {
  Rng rng(1);
  std::string good = kTravel;
  good.replace(good.find("<briefly>"), 9, "briefly");
  ASSERT_EQ(error_of(good), "");
  constexpr std::string_view kPieces[] = {"<", "</", "/>", ">", "\"", "&", "&lt;", "<!--", "-->", "<module name=\"", "<union>", "\n", "=", "tokens=\"", "<?xml"};
  for (size_t cut = 0; cut <= good.size(); ++cut) (void)parse_prompt_schema(good.substr(0, cut), "f");
  for (int i = 0; i < 20000; ++i) {
    std::string text = good;
    for (uint64_t n = 1 + rng.below(6); n > 0; --n) {
      const size_t at = rng.below(text.size());
      switch (rng.below(4)) {
        case 0: text[at] = static_cast<char>(rng.below(256)); break;
        case 1: text.erase(at, 1 + rng.below(30)); break;
        case 2: text.insert(at, kPieces[rng.below(std::size(kPieces))]); break;
        default: text.insert(at, text.substr(rng.below(text.size()), rng.below(60))); break;
      }
      if (text.empty()) text = "<";
    }
    const auto parsed = parse_prompt_schema(text, "f");
    if (!parsed.ok()) {
      ASSERT_TRUE(parsed.error().message.starts_with("f:")) << parsed.error().message;
      continue;
    }
    for (const SchemaModule& m : parsed->modules) ASSERT_FALSE(m.parts.empty());
  }
}

TEST(PromptLayout, PlacesModulesParametersAndUnions) {
  const auto tokenizer = load_tokenizer_directory(std::string(SLUICE_SOURCE_DIR) + "/tests/data/tokenizers/tok512");
  ASSERT_TRUE(tokenizer.ok());
  std::string text = kTravel;
  text.replace(text.find("<briefly>"), 9, "briefly");
  const PromptLayout layout = lay_out(*parse_prompt_schema(text, "f"), **tokenizer);
  EXPECT_EQ(layout.lead, (*tokenizer)->encode("You plan trips & answer briefly.", {.add_special = true}));
  ASSERT_EQ(layout.modules.size(), 4u);
  const auto& [rules, paris, rome, plan] = std::tie(layout.modules[0], layout.modules[1], layout.modules[2], layout.modules[3]);
  EXPECT_EQ(rules.positions.front(), static_cast<int32_t>(layout.lead.size()));
  EXPECT_EQ(rules.end, rules.positions.back() + 1);
  EXPECT_EQ(paris.positions.front(), rules.end);
  EXPECT_EQ(rome.positions.front(), rules.end);
  EXPECT_GT(rome.end, paris.end);
  EXPECT_EQ(plan.positions.front(), rome.end) << "behind the longest of the union";
  ASSERT_EQ(plan.parameters.size(), 2u);
  const size_t before = (*tokenizer)->encode("For ", {.add_special = false}).size();
  EXPECT_EQ(plan.parameters[0].first, plan.positions[before - 1] + 1);
  EXPECT_EQ(plan.positions[before], plan.parameters[0].first + 6) << "the text goes on behind the positions kept for it";
  EXPECT_EQ(layout.positions, plan.end);
  EXPECT_EQ(layout.scaffolds, (std::vector<std::vector<size_t>>{{0, 3}}));
}

}  // namespace
}  // namespace sluice
