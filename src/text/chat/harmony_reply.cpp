#include "text/chat/harmony_reply.h"

#include <algorithm>

namespace sluice {
namespace {

std::vector<std::string_view> words(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n";
  std::vector<std::string_view> out;
  while (true) {
    const size_t begin = text.find_first_not_of(kSpace);
    if (begin == std::string_view::npos) return out;
    const size_t end = std::min(text.find_first_of(kSpace, begin), text.size());
    out.push_back(text.substr(begin, end - begin));
    text.remove_prefix(end);
  }
}

}  // namespace

std::string_view harmony_spelling(HarmonyMark mark) {
  switch (mark) {
    case HarmonyMark::start: return "<|start|>";
    case HarmonyMark::channel: return "<|channel|>";
    case HarmonyMark::constrain: return "<|constrain|>";
    case HarmonyMark::message: return "<|message|>";
    case HarmonyMark::end: return "<|end|>";
    case HarmonyMark::call: return "<|call|>";
    case HarmonyMark::ret: return "<|return|>";
  }
  return {};
}

HarmonyReply::HarmonyReply(Begins begins) : state_(begins == Begins::in_header ? State::author : State::body) {}

void HarmonyReply::open_header(State part) {
  state_ = part;
  author_.clear();
  channel_.clear();
}

void HarmonyReply::mark(HarmonyMark mark) {
  switch (mark) {
    case HarmonyMark::start: return open_header(State::author);
    case HarmonyMark::channel:
      // Between messages, or again in a header: the model left "<|start|>assistant" out.
      if (state_ != State::author && state_ != State::body) open_header(State::channel);
      if (state_ == State::author) state_ = State::channel;
      return;
    case HarmonyMark::constrain:
      if (state_ == State::author || state_ == State::channel) state_ = State::type;
      return;
    case HarmonyMark::message:
      if (state_ == State::between) open_header(State::author);
      if (state_ != State::body) open_message();
      return;
    case HarmonyMark::end:
    case HarmonyMark::call:
    case HarmonyMark::ret: state_ = State::between; return;
  }
}

void HarmonyReply::open_message() {
  state_ = State::body;
  fresh_ = true;
  std::string_view recipient, author = "assistant";
  const std::vector<std::string_view> head = words(author_), said = words(channel_);
  if (!head.empty() && !head[0].starts_with("to=")) author = head[0];
  for (const auto& list : {head, said})
    for (const std::string_view word : list)
      if (word.starts_with("to=")) recipient = word.substr(3);
  if (author != "assistant") {
    sink_ = Sink::nothing;  // the model went on to play a tool or the user
  } else if (!recipient.empty() && recipient != "all" && recipient != "user") {
    constexpr std::string_view kFunctions = "functions.";
    if (recipient.starts_with(kFunctions)) recipient.remove_prefix(kFunctions.size());
    sink_ = Sink::call;
    calls_.push_back({call_count_++, std::string(recipient), {}});
  } else {
    sink_ = !said.empty() && said[0] == "analysis" ? Sink::reasoning : Sink::content;
  }
}

void HarmonyReply::say(std::string& to, bool& said, std::string_view piece) {
  if (std::exchange(fresh_, false) && said) to += '\n';
  said = true;
  to += piece;
}

void HarmonyReply::text(std::string_view piece) {
  if (piece.empty()) return;
  switch (state_) {
    case State::author: author_ += piece; return;
    case State::channel: channel_ += piece; return;
    case State::between:
    case State::type: return;
    case State::body: break;
  }
  switch (sink_) {
    case Sink::nothing: return;
    case Sink::content: return say(content_, said_content_, piece);
    case Sink::reasoning: return say(reasoning_, said_reasoning_, piece);
    case Sink::call:
      if (calls_.empty()) calls_.push_back({call_count_ - 1, {}, {}});
      calls_.back().arguments += piece;
      return;
  }
}

void HarmonyReply::finish() {
  if (state_ == State::author && !words(author_).empty()) {
    fresh_ = true;
    say(content_, said_content_, author_);
  }
  state_ = State::between;
}

}  // namespace sluice
