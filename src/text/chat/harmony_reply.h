#pragma once
// Replies in the harmony format, which gpt-oss writes (github.com/openai/harmony): messages with a channel and perhaps
// a recipient in their header, parted by control tokens:
//
//   <|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json
//   <|message|>{...}<|call|>
//
// The reader is given the control tokens as such, never as text, so that a reply that spells one does not steer it.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice {

enum class HarmonyMark : uint8_t { start, channel, constrain, message, end, call, ret };

/// The control token's spelling: "<|start|>", ...
std::string_view harmony_spelling(HarmonyMark mark);
inline constexpr HarmonyMark kHarmonyMarks[] = {HarmonyMark::start,   HarmonyMark::channel, HarmonyMark::constrain,
                                                HarmonyMark::message, HarmonyMark::end,     HarmonyMark::call,
                                                HarmonyMark::ret};

class HarmonyReply {
 public:
  /// What the prompt ended in: the header of the reply's first message ("<|start|>assistant"), or a final message that
  /// the reply continues.
  enum class Begins : uint8_t { in_header, in_final };
  explicit HarmonyReply(Begins begins = Begins::in_header);

  void mark(HarmonyMark mark);
  void text(std::string_view piece);
  /// The reply is over. A header that never became a message is content where it named no channel: the model did not
  /// keep to the format.
  void finish();

  struct CallPiece {
    int index = 0;          // of the call in the reply
    std::string name;       // in the first piece of a call; "functions." is left out
    std::string arguments;  // the next part of them
  };
  // What came since the last call. The channel analysis is the reasoning; final and, without recipient, commentary are
  // the content; messages to a recipient are calls. Several messages of one kind are parted by a newline.
  std::string take_content() { return std::exchange(content_, {}); }
  std::string take_reasoning() { return std::exchange(reasoning_, {}); }
  std::vector<CallPiece> take_calls() { return std::exchange(calls_, {}); }
  int calls() const { return call_count_; }

 private:
  enum class State : uint8_t { between, author, channel, type, body };
  enum class Sink : uint8_t { nothing, content, reasoning, call };
  void open_header(State part);
  void open_message();
  void say(std::string& to, bool& said, std::string_view piece);

  State state_;
  Sink sink_ = Sink::content;
  std::string author_, channel_;                  // of the header being read
  bool fresh_ = true;                             // no text of this message yet
  bool said_content_ = false, said_reasoning_ = false;
  int call_count_ = 0;
  std::string content_, reasoning_;
  std::vector<CallPiece> calls_;
};

}  // namespace sluice
