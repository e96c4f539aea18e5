#include "serve/openai/generation.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

namespace sluice {

Generation::Generation(GenerationSpec spec, Engine& engine, const Tokenizer& tokenizer,
                       std::shared_ptr<ServerMetrics> metrics, std::shared_ptr<ResponseWriter> writer)
    : spec_(std::move(spec)),
      engine_(engine),
      tokenizer_(tokenizer),
      metrics_(std::move(metrics)),
      writer_(std::move(writer)),
      cached_tokens_(spec_.prompts.size(), 0),
      scored_(spec_.prompts.size()),
      had_first_token_(spec_.prompts.size(), false),
      open_(spec_.prompts.size() * static_cast<size_t>(spec_.n)) {
  slots_.reserve(open_);
  for (const GenerationSpec::PromptPart& prompt : spec_.prompts) {
    ChoiceOptions options = spec_.choice;
    options.at_text_start = prompt.at_text_start;
    for (int sample = 0; sample < spec_.n; ++sample)
      slots_.push_back({Choice(tokenizer_, options, count_code_points(prompt.echo)), false, false, 0});
  }
}

void Generation::started(std::vector<RequestId> requests) {
  requests_ = std::move(requests);
  if (!answered_ || open_ == 0) return;
  for (const RequestId id : requests_) engine_.cancel(id);  // it failed in between
}

void Generation::measure(const GenerationNews& news, Slot& slot) {
  if (news.tokens.empty()) return;
  if (!had_first_token_[news.prompt]) {
    had_first_token_[news.prompt] = true;
    metrics_->first_token(news.at - spec_.arrival);
  }
  if (slot.last_token_at != 0) metrics_->next_token(news.at - slot.last_token_at);
  slot.last_token_at = news.at;
}

void Generation::take(const GenerationNews& news) {
  const int index = news.prompt * spec_.n + news.sample;
  Slot& slot = slots_[static_cast<size_t>(index)];
  if (slot.choice.ended()) return;  // what was in flight when a stop string ended it
  std::ranges::copy(news.prompt_tokens, std::back_inserter(scored_[news.prompt]));
  if (news.tokens.empty() && news.finish == FinishReason::none) return;
  measure(news, slot);
  cached_tokens_[news.prompt] = std::max(cached_tokens_[news.prompt], news.cached_tokens);
  if (spec_.prompt_only)
    slot.choice.take({}, news.finish == FinishReason::stop ? FinishReason::length : news.finish);
  else
    slot.choice.take(news.tokens, news.finish);
  const bool ended = slot.choice.ended();
  if (ended) {
    --open_;
    metrics_->finished(slot.choice.finish(), news.at - spec_.arrival);
    if (news.finish == FinishReason::none) engine_.cancel(news.request, news.sample);
  }
  if (answered_) return;
  if (writer_->disconnected()) {
    answered_ = true;
  } else if (slot.choice.finish() == FinishReason::error) {
    fail({ErrorCode::internal, "the engine could not go on with this request: " + news.error, "engine_error"});
  } else if (slot.choice.finish() == FinishReason::cancelled) {
    fail({ErrorCode::cancelled, "the request was cancelled", "cancelled"});
  } else {
    if (spec_.stream) {
      const std::string text = events(index);
      if (!text.empty() && !streaming_) {
        streaming_ = true;
        HttpHeaders headers = spec_.headers;
        headers.emplace_back("Content-Type", "text/event-stream; charset=utf-8");
        headers.emplace_back("Cache-Control", "no-cache");
        writer_->start_stream(200, std::move(headers));
      }
      writer_->write(text);
    }
    if (open_ == 0) complete();
  }
}

/// What a choice has to tell now: its beginning, new text, its end.
std::string Generation::events(int index) {
  Slot& slot = slots_[static_cast<size_t>(index)];
  std::string out, text = slot.choice.take_text();
  if (!slot.begun) {
    slot.begun = true;
    if (spec_.head.kind == ApiKind::chat) out += chunk(role_choice_json(index));
    text = prompt_of(index).echo + text;
  }
  if (std::string reasoning = slot.choice.take_reasoning(); !reasoning.empty())
    out += chunk(delta_choice_json(index, {{"reasoning_content", std::move(reasoning)}}, take_logprobs(index)));
  if (!text.empty()) out += chunk(chunk_choice_json(spec_.head.kind, index, std::move(text), take_logprobs(index)));
  for (const HarmonyReply::CallPiece& piece : slot.choice.take_calls()) {
    Json call = call_piece_json(piece, call_id_prefix(index) + std::to_string(piece.index));
    Json delta = {{"tool_calls", Json::array({std::move(call)})}};
    out += chunk(delta_choice_json(index, std::move(delta), take_logprobs(index)));
  }
  if (slot.choice.ended()) out += chunk(final_choice_json(spec_.head.kind, index, take_logprobs(index), slot.choice));
  return out;
}

std::string Generation::call_id_prefix(int index) const {
  return fmt::format("call-{}-{}-", spec_.head.id, index);
}

std::string Generation::chunk(Json choice) const {
  Json json = answer_json(spec_.head, true);
  json["choices"].push_back(std::move(choice));
  if (spec_.include_usage) json["usage"] = spec_.continuous_usage ? usage_json(usage()) : Json();
  return sse_event(json);
}

Json Generation::take_logprobs(int index) {
  Slot& slot = slots_[static_cast<size_t>(index)];
  std::vector<LogprobEntry> entries;
  const GenerationSpec::PromptPart& prompt = prompt_of(index);
  if (!std::exchange(slot.prompt_told, true) && !prompt.offsets.empty()) {
    entries.push_back({{prompt.first_token, 0, {}}, prompt.offsets[0], true});
    for (const SampledToken& token : scored_[static_cast<size_t>(index / spec_.n)])
      entries.push_back({token, prompt.offsets[entries.size()], false});
  }
  std::ranges::move(slot.choice.take_logprobs(), std::back_inserter(entries));
  if (!spec_.choice.logprobs || entries.empty()) return nullptr;
  return spec_.head.kind == ApiKind::chat ? chat_logprobs_json(tokenizer_, entries)
                                          : completion_logprobs_json(tokenizer_, entries);
}

Usage Generation::usage() const {
  Usage usage;
  for (const GenerationSpec::PromptPart& prompt : spec_.prompts) usage.prompt_tokens += prompt.tokens;
  for (const int cached : cached_tokens_) usage.cached_tokens += cached;
  for (const Slot& slot : slots_) usage.completion_tokens += slot.choice.tokens();
  return usage;
}

void Generation::complete() {
  answered_ = true;
  if (spec_.stream) {
    std::string text;
    if (spec_.include_usage) {
      Json json = answer_json(spec_.head, true);
      json["usage"] = usage_json(usage());
      text = sse_event(json);
    }
    writer_->write(text + kSseDone);
    return writer_->end();
  }
  Json json = answer_json(spec_.head, false);
  for (size_t i = 0; i < slots_.size(); ++i) {
    Choice& choice = slots_[i].choice;
    json["choices"].push_back(choice_json(spec_.head.kind, static_cast<int>(i),
                                          prompt_of(static_cast<int>(i)).echo + choice.take_text(),
                                          take_logprobs(static_cast<int>(i)), choice));
    if (spec_.head.kind == ApiKind::chat)
      add_reply_parts(json["choices"].back()["message"], choice.take_reasoning(), choice.take_calls(),
                      call_id_prefix(static_cast<int>(i)));
  }
  json["usage"] = usage_json(usage());
  HttpResponse response{200, spec_.headers, dump_json(json)};
  response.headers.emplace_back("Content-Type", "application/json");
  writer_->respond(std::move(response));
}

void Generation::fail(const ApiError& error) {
  if (answered_) return;
  answered_ = true;
  for (const RequestId id : requests_) engine_.cancel(id);
  if (streaming_) {
    writer_->write("data: " + error.json() + "\n\n" + kSseDone);
    return writer_->end();
  }
  HttpResponse response = error.response();
  response.headers.insert(response.headers.end(), spec_.headers.begin(), spec_.headers.end());
  writer_->respond(std::move(response));
}

}  // namespace sluice
