#include "text/self_check/self_check.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "text/tokenizer/detokenizer.h"

namespace sluice {
namespace {

constexpr const char* kSamples[] = {"Hello, world!", "  two  spaces\n\tand a tab", "naïve café — 東京 🙂",
                                    "x = 3.14159; // 42", "def f(a):\n    return a[0]\n"};

std::string shown(std::string_view text) {
  std::string out = "'";
  for (const char c : text.substr(0, 40)) c == '\n' ? void(out += "\\n") : c == '\t' ? void(out += "\\t") : out.push_back(c);
  return out + "'";
}

void check_sample(const Tokenizer& tokenizer, const std::string& sample, std::vector<std::string>& odd) {
  const std::vector<TokenId> ids = tokenizer.encode(sample, {.add_special = false});
  const auto is_wrong = [&](TokenId id) { return id < 0 || id >= tokenizer.vocab_size(); };
  if (ids.empty()) return odd.push_back(shown(sample) + " has no tokens");
  if (std::any_of(ids.begin(), ids.end(), is_wrong))
    return odd.push_back(shown(sample) + " has ids that are not in the vocabulary");
  if (std::any_of(ids.begin(), ids.end(), [&](TokenId id) { return tokenizer.is_special(id); }))
    odd.push_back(shown(sample) + " has unknown or control tokens");
  const std::string back = tokenizer.decode(ids, {.skip_special = false});
  if (back != sample) odd.push_back(fmt::format("{} decodes as {}", shown(sample), shown(back)));
  Detokenizer stream(tokenizer, {.skip_special = false});
  std::string streamed;
  for (const TokenId id : ids) streamed += stream.push(id);
  if (streamed + stream.finish() != back) odd.push_back(shown(sample) + " decodes otherwise as a stream");
}

/// The first <|...|> in text that the template wrote which is no token.
std::string unknown_markup(const Tokenizer& tokenizer, const RenderedChat& chat) {
  for (const RenderedChat::Segment& segment : chat.segments) {
    if (!segment.trusted) continue;
    const std::string_view text = segment.text;
    for (size_t begin = text.find("<|"); begin != std::string_view::npos; begin = text.find("<|", begin + 2)) {
      const size_t end = text.find("|>", begin + 2);
      if (end == std::string_view::npos) break;
      const std::string_view markup = text.substr(begin, end + 2 - begin);
      if (markup.find_first_of(" \n") == std::string_view::npos && !tokenizer.token_id(markup)) return std::string(markup);
    }
  }
  return {};
}

void check_chat(const Tokenizer& tokenizer, const ChatTemplate& chat, std::vector<std::string>& odd) {
  using Json = nlohmann::ordered_json;
  const Json messages = Json::array({{{"role", "user"}, {"content", "Hello, world!"}}}), none;
  const Json extra = {{"documents", nullptr}};
  ChatInputs inputs;
  inputs.messages = &messages;
  inputs.tools = &none;
  inputs.extra = &extra;
  if (const auto bos = tokenizer.bos()) inputs.bos_token = tokenizer.token_bytes(*bos);
  if (const auto eos = tokenizer.eos()) inputs.eos_token = tokenizer.token_bytes(*eos);
  const auto rendered = chat.render(inputs);
  if (!rendered.ok()) return odd.push_back("the chat template fails: " + rendered.error().message);
  if (rendered->text().find("Hello, world!") == std::string::npos)
    odd.push_back("the chat template does not show what a user says");
  if (const std::string markup = unknown_markup(tokenizer, *rendered); !markup.empty())
    odd.push_back(fmt::format("the chat template writes {}, which is no token", markup));
}

}  // namespace

std::string text_oddities(const Tokenizer& tokenizer, const ChatTemplate* chat) {
  std::vector<std::string> odd;
  for (const char* sample : kSamples) check_sample(tokenizer, sample, odd);
  if (tokenizer.end_of_generation().empty()) odd.push_back("no token ends a generation");
  if (chat != nullptr) check_chat(tokenizer, *chat, odd);
  std::string line;
  for (const std::string& each : odd) line += (line.empty() ? "" : "; ") + each;
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

}  // namespace sluice
