#include "serve/openai/harmony_tokens.h"

#include <nlohmann/json.hpp>

namespace sluice {

std::shared_ptr<const HarmonyTokens> find_harmony_tokens(const ChatTemplate* chat_template,
                                                         const Tokenizer& tokenizer) {
  if (chat_template == nullptr) return nullptr;
  auto tokens = std::make_shared<HarmonyTokens>();
  for (const HarmonyMark mark : kHarmonyMarks) {
    const auto id = tokenizer.token_id(harmony_spelling(mark));
    if (!id) return nullptr;
    tokens->emplace(*id, mark);
  }
  const nlohmann::ordered_json messages = {{{"role", "user"}, {"content", "question"}}}, none;
  ChatInputs inputs;
  inputs.messages = &messages;
  inputs.tools = &none;
  const auto rendered = chat_template->render(inputs);
  if (!rendered.ok() || !rendered->text().ends_with("<|start|>assistant")) return nullptr;
  return tokens;
}

}  // namespace sluice
