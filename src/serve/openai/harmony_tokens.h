#pragma once
// Whether a model's chats are in the harmony format, as gpt-oss' are, and which tokens steer them.

#include <map>
#include <memory>

#include "base/ids.h"
#include "text/chat/chat_template.h"
#include "text/chat/harmony_reply.h"
#include "text/tokenizer/tokenizer.h"

namespace sluice {

using HarmonyTokens = std::map<TokenId, HarmonyMark>;

/// All of harmony's control tokens, where the tokenizer has them and the template's prompts end as harmony's; null for
/// every other model, whose replies are content as they stand.
std::shared_ptr<const HarmonyTokens> find_harmony_tokens(const ChatTemplate* chat_template, const Tokenizer& tokenizer);

}  // namespace sluice
