#include "text/tokenizer/pre_tokenizers/pre_patterns.h"

#include <algorithm>

#include "text/tokenizer/pre_tokenizers/scanners.h"

namespace sluice {
namespace {

// Contractions, words with a leading non-letter, numbers of up to three digits (or one), marks, line ends, spaces.
constexpr std::string_view kLlama3[] = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|)"
    R"(\s+(?!\S)|\s+)"};
constexpr std::string_view kQwen2[] = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|)"
    R"(\s+(?!\S)|\s+)"};
constexpr std::string_view kGpt2[] = {kGpt2Pattern};
constexpr std::string_view kDigitsThenGpt2[] = {R"(\p{N})", kGpt2Pattern};
constexpr std::string_view kFalcon[] = {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2Pattern, "[0-9][0-9][0-9]"};
constexpr std::string_view kDefault[] = {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Pattern, R"(\p{N}+)", "[0-9][0-9][0-9]"};
constexpr std::string_view kGpt4o[] = {
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr std::string_view kTekken[] = {
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
    R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
// The letters of the scripts with case, as the DeepSeek LLM tokenizer lists them.
constexpr std::string_view kDeepseekLlm[] = {
    R"([\r\n])",
    R"(\s?[)"
    R"(A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293}\x{295}-\x{2af})"
    R"(\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a}\x{38c}\x{38e}-\x{3a1})"
    R"(\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556}\x{10a0}-\x{10c5}\x{13a0}-\x{13f5})"
    R"(\x{13f8}-\x{13fd}\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77})"
    R"(\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d}\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d})"
    R"(\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4}\x{1fb6}-\x{1fbc}\x{1fbe})"
    R"(\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb}\x{1fe0}-\x{1fec})"
    R"(\x{1ff2}-\x{1ff4}\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d}\x{2124})"
    R"(\x{2126}\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f}\x{2145}-\x{2149}\x{214e})"
    R"(\x{2183}\x{2184}\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4}\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d})"
    R"(\x{a680}-\x{a69b}\x{a722}-\x{a76f}\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf})"
    R"(\x{fb00}-\x{fb06}\x{fb13}-\x{fb17}\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f})"
    R"(\x{104b0}-\x{104d3}\x{104d8}-\x{104fb}\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df})"
    R"(\x{1e900}-\x{1e943})"
    R"(]+)",
    R"(\s?[!-\/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)",
    kLineEnds,
    R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)",
    R"(\p{N}+)"};
constexpr std::string_view kDeepseekCoder[] = {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)",
                                               R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)", R"(\p{N})"};
constexpr std::string_view kDeepseekV3[] = {
    R"(\p{N}{1,3})", R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)",
    R"([!"#$%&'()*+,\-.\/:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)"};

// As Llama 3, with the numbers cut before.
constexpr std::string_view kMinicpm5[] = {
    R"(\p{N}{1,3})",
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr std::string_view kJais2[] = {kSpaceSizes};
// As Qwen 2, with marks counted to their letters.
constexpr std::string_view kQwen35[] = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)"};
// As Qwen 2, without English contractions.
constexpr std::string_view kUfakzeka[] = {
    R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr std::string_view kLaguna[] = {R"([^\n]+|[\n]+)", kQwen2[0]};
constexpr std::string_view kSeedCoder[] = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr std::string_view kBailing[] = {
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)"};
constexpr std::string_view kExaoneMoe[] = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)"};
constexpr std::string_view kBloom[] = {R"( ?[^(\s|.,!?…。，、।۔،)]+)"};
constexpr std::string_view kViking[] = {R"( ?[^(\s|.,!?…。，、।۔،)]+)", R"(\p{N})"};
constexpr std::string_view kChameleon[] = {R"(<sentinel:[0-9]+>)", R"((IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z)",
                                           R"(([\t\n]|    |  ))", R"(\p{N})", R"([\p{P}!-\/:-@\[-`\{-~])", kGpt2Pattern};
constexpr std::string_view kYoutu[] = {
    R"([가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\x{3040}-ゟ゠-ヿ]+)",
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr std::string_view kSpark[] = {
    kDeepseekV3[0], kDeepseekV3[1],
    R"([!"#$%&'()*+,\-.\/:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|)"
    R"(\s+(?!\S)|\s+)",
    R"(\p{N})"};
constexpr std::string_view kAfmoe[] = {
    kGroupsFromTheRight,
    R"([一-鿿㐀-䶿豈-\x{faff}\x{3040}-ゟ゠-ヿ･-ﾟ⼀-\x{2fdf}\x{e40}-\x{e7f}\x{e80}-\x{eff}\x{1780}-\x{17ff}\x{1000}-\x{109f})"
    R"(\x{aa60}-\x{aa7f}\x{a9e0}-\x{a9ff}\x{ac00}-\x{d7af}\x{1100}-\x{11ff}]+)",
    kDeepseekV3[2]};
constexpr std::string_view kTinyAya[] = {kGroupsBeforeBoundary, kGpt4o[0]};
constexpr std::string_view kSuperBpe[] = {R"(\p{N}+)", kBetweenGroups};
constexpr std::string_view kKimi[] = {
    R"([\p{Han}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

struct Named {
  std::string_view name;
  PrePatterns pre;
};

constexpr PrePatterns kLlama3Family = {kLlama3, false, true, true};
constexpr PrePatterns kQwen2Family = {kQwen2, true, false, false};
constexpr PrePatterns kRoberta = {kGpt2, false, false, false, true};
constexpr PrePatterns kGlm4Family = {kLlama3, false, true, false};
// Merging takes its course over the whole text; spaces are spelled in it.
constexpr PrePatterns kWholeText = {.patterns = {}, .spelling = PieceSpelling::marked_spaces};

// GGUF's names first; where several have the same patterns, the first is the one to write.
constexpr Named kNamed[] = {
    {"gpt-2", {kGpt2}},
    {"llama-bpe", kLlama3Family},
    {"dbrx", {kLlama3}},
    {"qwen2", kQwen2Family},
    {"stablelm2", {kQwen2}},
    {"smollm", {kDigitsThenGpt2}},
    {"gpt-4o", {kGpt4o}},
    {"tekken", {kTekken, false, true, true}},
    {"deepseek-v3", {kDeepseekV3}},
    {"deepseek-llm", {kDeepseekLlm}},
    {"deepseek-coder", {kDeepseekCoder}},
    {"falcon", {kFalcon}},
    {"default", {kDefault}},
    {"a.x-4.0", {kGpt2}},
    {"afmoe", {kAfmoe}},
    {"bailingmoe", {kBailing}},
    {"bailingmoe2", {kBailing}},
    {"bloom", {kBloom}},
    {"chameleon", {kChameleon, false, false, true}},
    {"chatglm-bpe", {kLlama3}},
    {"codeshell", {kDigitsThenGpt2}},
    {"cohere2moe", {kTinyAya}},
    {"command-r", {kDigitsThenGpt2}},
    {"deepseek-r1-qwen", kQwen2Family},
    {"exaone", {kDigitsThenGpt2}},
    {"exaone-moe", {kExaoneMoe}},
    {"exaone4", {kGpt2}},
    {"f2llmv2", kQwen2Family},
    {"falcon-h1", kLlama3Family},
    {"falcon3", kLlama3Family},
    {"gemma4", kWholeText},
    {"gigachat", {kGpt2}},
    {"glm4", kGlm4Family},
    {"glm5", kGlm4Family},
    {"gpt2", {kGpt2}},
    {"gpt3-finnish", {kBloom}},
    {"granite-docling", {kGpt2}},
    {"granite-embed-multi-97m", {kGpt4o, false, true, false}},
    {"granite-embed-multi-311m", kWholeText},
    {"grok-2", {kQwen2}},
    {"hunyuan", {kQwen2}},
    {"hunyuan-dense", {kDeepseekV3}},
    {"hy_v4", {kDeepseekV3}},
    {"jais", {kGpt2}},
    {"jais-2", {kJais2}},
    {"jina-de", {kGpt2}},
    {"jina-es", {kGpt2}},
    {"jina-v1-en", kRoberta},
    {"jina-v2-code", kRoberta},
    {"jina-v2-de", {kGpt2}},
    {"jina-v2-es", {kGpt2}},
    {"jina-v5-nano", kLlama3Family},
    {"joyai-llm", {kDeepseekV3}},
    {"kanana2", {kGpt4o}},
    {"kimi-k2", {kKimi, false, true, false}},
    {"kormo", kQwen2Family},
    {"laguna", {kLaguna}},
    {"lfm2", kLlama3Family},
    {"llada-moe", {kBailing}},
    {"llama-v3", kLlama3Family},
    {"llama3", kLlama3Family},
    {"llama4", {kGpt4o}},
    {"megrez", kQwen2Family},
    {"mellum", {kGpt2}},
    {"mellum2", {kDigitsThenGpt2}},
    {"midm-2.0", kLlama3Family},
    {"minerva-7b", {kDigitsThenGpt2}},
    {"minicpm5", {kMinicpm5, false, true, false}},
    {"minimax-m2", {kGpt4o}},
    {"modern-bert", {kGpt2}},
    {"mpt", {kGpt2}},
    {"olmo", {kGpt2}},
    {"phi-2", {kGpt2}},
    {"pixtral", kLlama3Family},
    {"poro-chat", {kBloom}},
    {"qwen35", {kQwen35, true, false, false}},
    {"refact", {kDigitsThenGpt2}},
    {"roberta-bpe", kRoberta},
    {"sarvam-moe", kWholeText},
    {"seed-coder", {kSeedCoder}},
    {"smaug-bpe", {kLlama3}},
    {"solar-open", {kQwen2}},
    {"spark2_5", {kSpark}},
    {"starcoder", {kDigitsThenGpt2}},
    {"superbpe", {kSuperBpe}},
    {"talkie", {kGpt4o}},
    {"tiny_aya", {kTinyAya}},
    {"trillion", {kGpt2}},
    {"ufakzeka", {kUfakzeka}},
    {"viking", {kViking}},
    {"whitespace", {.patterns = {}, .spelling = PieceSpelling::words}},
    {"youtu", {kYoutu, false, true, false}},
    // Vocabularies of tiktoken: a piece that is a token is that token, for which GGUF's names do not ask.
    {"cl100k_base", {kLlama3, false, true, false, false, "dbrx"}},
    {"o200k_base", {kGpt4o, false, true, false, false, "gpt-4o"}},
    {"qwen", {kQwen2, true, true, false, false, "qwen2"}},
    {"r50k_base", {kGpt2, false, true, false, false, "gpt-2"}},
};

}  // namespace

Result<PrePatterns> find_pre_patterns(std::string_view name) {
  std::string known;
  for (const Named& named : kNamed) {
    if (named.name == name) return named.pre;
    if (named.pre.gguf_name.empty()) known.append(known.empty() ? "" : ", ").append(named.name);
  }
  return unsupported(fmt::format("pre-tokenizer '{}' (known: {})", name, known));
}

std::vector<std::string_view> pre_pattern_names() {
  std::vector<std::string_view> names;
  for (const Named& named : kNamed) names.push_back(named.name);
  return names;
}

std::string_view gguf_pre_name(std::span<const std::string> patterns, bool nfc, bool ignore_merges) {
  for (const Named& named : kNamed)
    if (named.pre.gguf_name.empty() && named.pre.spelling == PieceSpelling::bytes && named.pre.nfc == nfc && named.pre.ignore_merges == ignore_merges &&
        std::ranges::equal(named.pre.patterns, patterns))
      return named.name;
  return {};
}

}  // namespace sluice
