#pragma once
// The JSON of answers, in the shapes of OpenAI's API with vLLM's additions (stop_reason, cached_tokens).

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "serve/openai/choice.h"
#include "serve/openai/json_text.h"
#include "text/tokenizer/tokenizer.h"

namespace sluice {

enum class ApiKind : uint8_t { completion, chat };

struct Usage {
  int64_t prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0;
};

/// The fields that every answer and every chunk of one begins with.
struct AnswerHead {
  ApiKind kind = ApiKind::completion;
  std::string id, model;
  int64_t created = 0;
};

Json usage_json(const Usage& usage);
/// {"tokens", "token_logprobs", "top_logprobs", "text_offset"}, top_logprobs with the token itself among them; both
/// logprobs are null for an entry that has none.
Json completion_logprobs_json(const Tokenizer& tokenizer, std::span<const LogprobEntry> entries);
/// {"content": [{"token", "logprob", "bytes", "top_logprobs"}], "refusal": null}
Json chat_logprobs_json(const Tokenizer& tokenizer, std::span<const LogprobEntry> entries);
/// "stop", "length", ...; null while the choice goes on.
Json finish_json(const Choice& choice);
Json stop_reason_json(const Choice& choice);

/// A whole answer, or a chunk of a stream, without its choices.
Json answer_json(const AnswerHead& head, bool chunk);
/// One choice of a whole answer.
Json choice_json(ApiKind kind, int index, std::string text, Json logprobs, const Choice& choice);
/// One choice of a chunk with text; for chat, role_choice_json() comes before the first, and final_choice_json() after
/// the last.
Json chunk_choice_json(ApiKind kind, int index, std::string text, Json logprobs);
Json role_choice_json(int index);
Json final_choice_json(ApiKind kind, int index, Json logprobs, const Choice& choice);

/// A chunk of a chat with another delta than content.
Json delta_choice_json(int index, Json delta, Json logprobs);
/// One element of a delta's "tool_calls"; the first of a call brings its id and name.
Json call_piece_json(const HarmonyReply::CallPiece& piece, const std::string& id);
/// Puts what is no content into a whole message: reasoning_content where there is any, and tool_calls, beside which
/// absent content is null. Call i has the id `id_prefix` + i.
void add_reply_parts(Json& message, std::string reasoning, const std::vector<HarmonyReply::CallPiece>& pieces,
                     const std::string& id_prefix);

/// One event of text/event-stream.
std::string sse_event(const Json& value);
inline constexpr char kSseDone[] = "data: [DONE]\n\n";

}  // namespace sluice
