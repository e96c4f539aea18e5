// Templates come out of model files: whatever they say, parsing and rendering end, in bounded memory, without a crash.
#include "text/chat/render_limits.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/rng.h"
#include "text/chat/chat_template.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

const Json kMessages =
    Json::array({{{"role", "user"}, {"content", "hello <b> wörld\n\n x"}, {"list", {1, 2, {{"a", nullptr}}}}},
                 {{"role", "assistant"}, {"content", "a </think> b"}, {"tool_calls", Json::array()}}});

RenderLimits tight() {
  RenderLimits limits;
  limits.max_steps = 200'000;
  limits.max_alloc_bytes = 8 << 20;
  limits.max_output_bytes = 1 << 20;
  return limits;
}

Result<RenderedChat> render(const std::string& source, const RenderLimits& limits) {
  auto parsed = ChatTemplate::parse(source, "t", limits);
  if (!parsed.ok()) return parsed.error();
  ChatInputs inputs;
  inputs.messages = &kMessages;
  return (*parsed)->render(inputs);
}

std::string repeated(std::string_view piece, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += piece;
  return out;
}

TEST(RenderLimits, HostileTemplatesRunOutOfBudget) {
  const std::string loop = "{% for i in range(99999) %}", end = "{% endfor %}";
  const std::vector<std::string> hostile = {
      loop + loop + loop + end + end + end,
      loop + "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" + end,
      "{% set ns = namespace(s='xx') %}" + loop + "{% set ns.s = ns.s ~ ns.s %}" + end,
      "{% set ns = namespace(s=[1]) %}" + loop + "{% set ns.s = ns.s + ns.s %}" + end,
      "{% set ns = namespace(s=[1]) %}" + loop + "{% set ns.s = [ns.s, ns.s] %}" + end + "{{ ns.s }}",
      "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
      "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson "
      "}}",
      "{% set ns = namespace(s=[1], t=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, "
      "ns.t] %}"
      "{% endfor %}{{ ns.s == ns.t }}",
      "{% set ns = namespace(s=[1], t=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, "
      "ns.t] %}"
      "{% endfor %}{{ ns.s < ns.t }}",
      "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|pprint }}",
      "{% set ns = namespace(s='x' * 90) %}{% for i in range(99) %}{% set ns.s = {'y' * 4000: ns.s} %}{% endfor %}{{ ns.s|pprint }}",
      "{{ ('x ' * 1000000)|wordwrap(1)|wordwrap(1) }}",
      "{{ ('(www.x.de). &amp; ' * 100000)|urlize|striptags|urlize }}",
      "{{ 'x' * 10000000000 }}",
      "{{ [1] * 10000000000 }}",
      "{{ ('x' * 100000).replace('', 'y' * 100000) }}",
      "{{ ('y' * 100000).join('x' * 100000) }}",
      "{{ ('x' * 1000000)|list|join('-')|list }}",
      "{{ 'x'.center(9000000000000000000) }}",
      "{{ 'x'|center(1000000000) }}",
      "{{ 'x'.ljust(1000000000) }}",
      "{{ 'x'.zfill(1000000000) }}",
      "{{ '%999999999d' % 1 }}",
      "{{ '%.999999999f' % 1 }}",
      "{{ '{:999999999}'.format(1) }}",
      "{{ '{:.999999999f}'.format(1) }}",
      "{{ 'a'|indent(1000000000, true) }}",
      "{{ [[1]]|tojson(indent=1000000000) }}",
      "{{ [1]|batch(1000000000000, 0)|list }}",
      "{{ [1]|slice(1000000000000, 0)|list }}",
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
      "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(50) }}",
      "{% macro f() %}{{ caller() }}{% endmacro %}{% macro g() %}{% call f() %}{{ g() }}{% endcall %}{% endmacro %}{{ "
      "g() }}",
      "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
      "{{ " + repeated("(", 100000) + "1" + repeated(")", 100000) + " }}",
      "{{ " + repeated("[", 100000) + " }}",
      "{{ " + repeated("not ", 100000) + "1 }}",
      "{{ " + repeated("-", 100000) + "1 }}",
      "{{ 1" + repeated("+1", 100000) + " }}",
      "{{ 1" + repeated(" if 1 else 1", 50000) + " }}",
      "{{ a" + repeated(".a", 100000) + " }}",
      "{{ a" + repeated("|e", 100000) + " }}",
      "{{ a" + repeated("[a", 100000) + " }}",
      "{{ a" + repeated(" is a", 100000) + " }}",
      "{{ a" + repeated("(a", 100000) + " }}",
      repeated("{% if 1 %}", 100000),
      repeated("{% for a in a %}", 50000),
      repeated("{% macro f() %}", 50000),
      "{% set " + repeated("(", 100000) + " = 1 %}",
      "{% set s = 'ab' * 200000 %}" + loop + "{{ s.find('bb') }}{{ s.rfind('ba') }}{{ s|length }}{{ s[5] }}" + end,
      "{% set s = 'a' * 1000000 %}{{ s.rfind('a' * 500000 ~ 'b') }}{{ s.rsplit('a' * 1000 ~ 'b') }}",
      "{% set l = range(99999)|list %}" + loop + "{{ 100000 in l }}" + end,
      "{% set l = range(99999)|list %}" + loop + "{{ l|sort|length }}" + end,
      "{% set d = {} %}" + loop + "{% set d = dict(d, **{i|string: i}) %}{% set ns = namespace(d=d) %}" + end,
  };
  for (const auto& source : hostile) {
    const auto rendered = render(source, tight());
    EXPECT_FALSE(rendered.ok()) << source.substr(0, 200);
    const ErrorCode code = rendered.ok() ? ErrorCode::internal : rendered.error().code;
    EXPECT_TRUE(code == ErrorCode::resource_exhausted || code == ErrorCode::invalid_argument) << source.substr(0, 200);
  }
}

TEST(RenderLimits, ValuesThatHoldEachOtherAreLetGo) {
  // Under the address sanitizer a leak, or a deep chain of destructors, fails these.
  for (const std::string source :
       {"{% set ns = namespace() %}{% set ns.self = ns %}{% set ns.l = [ns, ns] %}{{ ns.self.self is defined }}",
        "{% set ns = namespace() %}{% for i in [1,2] %}{% set ns.l = loop %}{{ loop.changed(loop) }}{% endfor %}",
        "{% set ns = namespace() %}{% macro f() %}{% set ns.f = f %}{% endmacro %}{% set ns.g = f %}{{ f() }}",
        "{% set ns = namespace(l=0) %}{% for i in range(2000) %}{% for x in [ns.l] %}{% set ns.l = loop %}{% endfor "
        "%}{% endfor %}",
        "{% set ns = namespace(m=0) %}{% for i in range(2000) %}{% set m = ns.m %}{% macro f() %}{{ m }}{% endmacro %}"
        "{% set ns.m = f %}{% endfor %}",
        "{% set ns = namespace(c='x') %}{% for i in range(2000) %}{% set ns.c = ns.c.upper %}{% endfor %}",
        "{% set ns = namespace(c='x') %}{% for i in range(2000) %}{% set ns.c = cycler(ns.c) %}{% endfor %}",
        "{% set ns = namespace(c='x') %}{% for i in range(2000) %}{% set ns.c = joiner(ns.c) %}{% endfor %}",
        "{% for x in [[1]] recursive %}{% set ns = namespace() %}{% set ns.l = loop %}{{ ns.l.index }}{% endfor %}"})
    (void)render(source, RenderLimits{});
  // A loop that outlived its for cannot be called back.
  const auto late =
      render("{% set ns = namespace() %}{% for x in [1] recursive %}{% set ns.l = loop %}{% endfor %}{{ ns.l([1]) }}",
             RenderLimits{});
  EXPECT_FALSE(late.ok());
}

TEST(RenderLimits, LongConversationsFit) {
  const auto parsed = ChatTemplate::parse(*builtin_chat_template("llama3"), "llama3");
  ASSERT_TRUE(parsed.ok());
  Json messages = Json::array();
  for (int i = 0; i < 2000; ++i)
    messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", std::string(2000, 'x')}});
  ChatInputs inputs;
  inputs.messages = &messages;
  const auto rendered = (*parsed)->render(inputs);
  ASSERT_TRUE(rendered.ok()) << rendered.error().message;
  EXPECT_GT(rendered->text().size(), 4'000'000u);
}

TEST(RenderLimits, DeepRequestsAreRefused) {
  Json deep = 1;
  for (int i = 0; i < 5000; ++i) deep = Json::array({std::move(deep)});
  const auto parsed = ChatTemplate::parse("{{ messages|tojson }}", "t");
  ChatInputs inputs;
  inputs.messages = &deep;
  EXPECT_EQ((*parsed)->render(inputs).error().code, ErrorCode::resource_exhausted);
}

std::string mutated(std::string text, const std::vector<std::string>& pool, Rng& rng) {
  static const std::vector<std::string> kPieces = {"{%",
                                                   "%}",
                                                   "{{",
                                                   "}}",
                                                   "{#",
                                                   "#}",
                                                   "-",
                                                   "+",
                                                   "|",
                                                   "(",
                                                   ")",
                                                   "[",
                                                   "]",
                                                   "'",
                                                   "\"",
                                                   "\\",
                                                   ":",
                                                   ",",
                                                   ".",
                                                   " if ",
                                                   " else ",
                                                   "{% for x in messages %}",
                                                   "{% endfor %}",
                                                   "{% if x %}",
                                                   "{% endif %}",
                                                   "{% set a = ",
                                                   "loop.",
                                                   "messages",
                                                   " is ",
                                                   " not ",
                                                   " in ",
                                                   "{% macro f(x) %}",
                                                   "{% endmacro %}",
                                                   "f(1)",
                                                   "range(9)",
                                                   "**",
                                                   "//",
                                                   "~",
                                                   "%",
                                                   "0",
                                                   "-1",
                                                   "999999999999",
                                                   "|tojson",
                                                   "|map('upper')",
                                                   "namespace()",
                                                   "\xc3\xa9",
                                                   "\xff",
                                                   "\n",
                                                   "::",
                                                   "{% raw %}",
                                                   "{% endraw %}",
                                                   "|list",
                                                   "|sort",
                                                   "[::-1]",
                                                   ".split("};
  for (size_t edits = 1 + rng.below(6); edits > 0; --edits) {
    const size_t at = rng.below(text.size() + 1), count = std::min(rng.below(20), text.size() - at);
    switch (rng.below(5)) {
      case 0: text.erase(at, count); break;
      case 1: text.insert(at, kPieces[rng.below(kPieces.size())]); break;
      case 2: text.replace(at, count, kPieces[rng.below(kPieces.size())]); break;
      case 3: {
        const auto& other = pool[rng.below(pool.size())];
        const size_t from = rng.below(other.size() + 1);
        text.insert(at, other.substr(from, rng.below(60)));
        break;
      }
      default:
        if (at < text.size()) text[at] = static_cast<char>(rng.below(256));
    }
  }
  return text;
}

void fuzz(const std::vector<std::string>& pool, int rounds, uint64_t seed) {
  Rng rng(seed);
  RenderLimits limits = tight();
  limits.max_steps = 20'000;
  limits.max_alloc_bytes = 1 << 20;
  size_t rendered = 0, failed = 0;
  for (int i = 0; i < rounds; ++i) {
    const auto result = render(mutated(pool[rng.below(pool.size())], pool, rng), limits);
    (result.ok() ? rendered : failed) += 1;
    ASSERT_TRUE(result.ok() || !result.error().message.empty());
  }
  EXPECT_GT(rendered, 0u);
  EXPECT_GT(failed, 0u);
}

TEST(TemplateFuzz, MutatedTemplatesNeitherCrashNorHang) {
  std::vector<std::string> pool;
  for (const auto& builtin : builtin_chat_templates()) pool.emplace_back(builtin.source);
  std::ifstream in(SLUICE_SOURCE_DIR "/tests/data/jinja/snippets.json");
  const Json golden = Json::parse(in);
  for (const auto& item : golden["cases"]) pool.push_back(item["template"].get<std::string>());
  fuzz(pool, 6000, 1);
}

TEST(TemplateFuzz, MutatedModelTemplatesNeitherCrashNorHang) {
  const char* root = std::getenv("SLUICE_TEST_DATA");
  if (root == nullptr || !std::filesystem::exists(std::filesystem::path(root) / "chat-templates"))
    GTEST_SKIP() << "SLUICE_TEST_DATA does not name a directory with chat-templates";
  std::vector<std::string> pool;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(root) / "chat-templates")) {
    if (entry.path().extension() != ".jinja") continue;
    std::ifstream in(entry.path(), std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    pool.push_back(text.str());
  }
  fuzz(pool, 1500, 2);
}

}  // namespace
}  // namespace sluice
