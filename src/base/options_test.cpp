#include "base/options.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace sluice {
namespace {

struct Flags {
  std::string model = "none";
  int context = 7;
  bool cache = true;
  ByteSize memory{1024};
  std::vector<std::string> names;
  OptionSet set{"tool", "A tool."};
  Flags() {
    set.add("-m,--model,model", model, "the model");
    set.add("-c,-ctx,--max-model-len", context, "the context");
    set.add("--prefix-cache", cache, "share prefixes");
    set.add("--kv-cache-memory-bytes", memory, "size");
    set.add("--served-model-name", names, "names");
  }
};

TEST(Options, AnEmptyEnvironmentVariableIsAbsent) {
  setenv("SLUICE_SERVED_MODEL_NAME", "", 1);
  setenv("SLUICE_MAX_MODEL_LEN", "", 1);
  Flags f;
  EXPECT_TRUE(f.set.parse({}).ok());
  unsetenv("SLUICE_SERVED_MODEL_NAME");
  unsetenv("SLUICE_MAX_MODEL_LEN");
  EXPECT_TRUE(f.names.empty());
  EXPECT_EQ(f.context, 7);
}

TEST(Options, TheVariablesOfCommandsAreNotedWithoutParsing) {
  EXPECT_FALSE(OptionSet::noting_variables());
  Flags f;
  const std::set<std::string> names = OptionSet::variables_of([&] {
    EXPECT_TRUE(OptionSet::noting_variables());
    const auto outcome = f.set.parse({"--no-such-flag"});
    ASSERT_TRUE(outcome.ok());
    EXPECT_EQ(*outcome, OptionSet::Outcome::done);
    OptionSet other("other", "Another tool.");
    int count = 0;
    other.add("-n,--count", count, "a count");
    EXPECT_TRUE(other.parse({"-n", "3"}).ok());
    EXPECT_EQ(count, 0);
  });
  EXPECT_EQ(names, (std::set<std::string>{"SLUICE_COUNT", "SLUICE_KV_CACHE_MEMORY_BYTES", "SLUICE_MAX_MODEL_LEN",
                                          "SLUICE_MODEL", "SLUICE_PREFIX_CACHE", "SLUICE_SERVED_MODEL_NAME"}));
  EXPECT_FALSE(f.set.parse({"--no-such-flag"}).ok());
}

TEST(Options, PrecedenceIsCommandLineEnvironmentFileDefault) {
  const std::string path = ::testing::TempDir() + "sluice_options.yaml";
  std::ofstream(path) << "max-model-len: 11\nmodel: from-file\nserved_model_name: [a, b]\nprefix-cache: false\n";
  setenv("SLUICE_MAX_MODEL_LEN", "13", 1);
  Flags f;
  const auto outcome = f.set.parse({"pos", "--config", path, "--kv-cache-memory-bytes", "2G"});
  unsetenv("SLUICE_MAX_MODEL_LEN");
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_EQ(f.model, "pos");
  EXPECT_EQ(f.context, 13);
  EXPECT_FALSE(f.cache);
  EXPECT_EQ(f.memory.bytes, int64_t{2} << 30);
  EXPECT_EQ(f.names, (std::vector<std::string>{"a", "b"}));
  const std::string shown = f.set.show();
  EXPECT_NE(shown.find("command line"), std::string::npos);
  EXPECT_NE(shown.find("environment SLUICE_MAX_MODEL_LEN"), std::string::npos);
  EXPECT_NE(shown.find("file " + path), std::string::npos);
  std::remove(path.c_str());
}

TEST(Options, FlagsAndLists) {
  Flags f;
  ASSERT_TRUE(f.set.parse({"--no-prefix-cache", "--served-model-name", "x,y", "-ctx", "5", "m.gguf"}).ok());
  EXPECT_FALSE(f.cache);
  EXPECT_EQ(f.names, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(f.model, "m.gguf");
  EXPECT_EQ(f.context, 5);
  Flags g;
  g.cache = false;
  ASSERT_TRUE(g.set.parse({"--prefix-cache"}).ok());
  EXPECT_TRUE(g.cache);
  Flags h;
  ASSERT_TRUE(h.set.parse({"--prefix-cache=false"}).ok());
  EXPECT_FALSE(h.cache);
}

TEST(Options, HelpShowsTheDefaultsInEffectAndHowToTurnFlagsOff) {
  Flags f;
  std::optional<double> temperature;
  f.set.add("--temperature", temperature, "heat");
  f.context = 4;  // after add(), as a command does that has another default than the others
  const std::string help = f.set.help();
  for (const char* line : {"-c, -ctx, --max-model-len INT       the context [4]\n",
                           "--[no-]prefix-cache                 share prefixes [true]\n", "size [1.00 KiB]\n",
                           "names\n", "--temperature NUMBER                heat\n"})
    EXPECT_NE(help.find(line), std::string::npos) << line << "is not in\n" << help;
}

TEST(Options, AnOptionalIsEmptyUnlessGiven) {
  OptionSet set("tool", "A tool.");
  std::optional<double> number;
  std::optional<int> count;
  set.add("--number", number, "a number");
  set.add("--count", count, "a count");
  ASSERT_TRUE(set.parse({"--number", "-0.5"}).ok());
  EXPECT_EQ(number, -0.5);
  EXPECT_EQ(count, std::nullopt);
  EXPECT_FALSE(set.parse({"--count", "1.5"}).ok());
}

TEST(Options, ErrorsNameTheFlag) {
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"--max-model-len", "many"}, {"--max-model-len", "99999999999999"}, {"--max-model-len"}}) {
    Flags f;
    const auto outcome = f.set.parse(args);
    ASSERT_FALSE(outcome.ok());
    EXPECT_NE(outcome.error().message.find("max-model-len"), std::string::npos) << outcome.error().message;
  }
  EXPECT_FALSE(Flags().set.parse({"--kv-cache-memory-bytes", "3X"}).ok());
}

TEST(Options, AnUnknownFlagIsNamedBeforeWhatFollowsItAndWithWhatMayBeMeant) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"--no-such-flag"}, "there is no flag --no-such-flag (see 'tool --help')"},
      {{"m.gguf", "--max-mode-len", "5"},
       "there is no flag --max-mode-len; the closest that is known is --max-model-len (see 'tool --help')"},
      {{"--modle", "m.gguf", "other"},
       "there is no flag --modle; the closest that is known is --model (see 'tool --help')"},
      {{"--hlep=5", "m.gguf"}, "there is no flag --hlep; the closest that is known is --help (see 'tool --help')"},
      {{"--no-prefix-cash"},
       "there is no flag --no-prefix-cash; the closest that is known is --no-prefix-cache (see 'tool --help')"},
      {{"--ctx-size=5"}, "there is no flag --ctx-size; here that is --max-model-len (see 'tool --help')"},
      {{"-odel"}, "there is no flag -odel; the closest that is known is --model (see 'tool --help')"},
      {{"-x", "3"}, "there is no flag -x (see 'tool --help')"},
      {{"m.gguf", "first", "second"}, "the argument 'first' was not expected (see 'tool --help')"},
      {{"m.gguf", "--", "--model"}, "the argument '--model' was not expected (see 'tool --help')"},
      {{"m.gguf", "--", "--"}, "the argument '--' was not expected (see 'tool --help')"},
      {{"m.gguf", "-5"}, "the argument '-5' was not expected (see 'tool --help')"}};
  for (const auto& [args, message] : cases) {
    Flags flags;
    flags.set.called_elsewhere("--ctx-size", "--max-model-len");
    const auto outcome = flags.set.parse(args);
    ASSERT_FALSE(outcome.ok());
    EXPECT_EQ(outcome.error().message, message);
  }
  const std::string path = ::testing::TempDir() + "sluice_unknown.yaml";
  std::ofstream(path) << "model: m.gguf\nmax_model_length: 5\n";
  const auto outcome = Flags().set.parse({"--config", path});
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().message,
            path + ":2: max-model-length is no flag of 'tool'; the closest that is known is --max-model-len");
  std::remove(path.c_str());
}

}  // namespace
}  // namespace sluice
