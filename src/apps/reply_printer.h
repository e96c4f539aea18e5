#pragma once
// A reply on the terminal: its content goes to standard output, what else the model wrote to standard error.

#include <string>

#include "serve/openai/choice.h"

namespace sluice {

class ReplyPrinter {
 public:
  explicit ReplyPrinter(bool show_reasoning) : show_reasoning_(show_reasoning) {}

  /// What the choice has become certain of.
  void take(Choice& choice);
  /// After the last take.
  void finish();
  /// All of it so far.
  const std::string& content() const { return content_; }

 private:
  /// To standard error, under a label, which begins a line where another part ended.
  void note(const std::string& label, const std::string& text);
  void end_note();

  bool show_reasoning_;
  bool hid_reasoning_ = false, shown_ = false;
  std::string content_, noting_;  // `noting_`: the label that what stands on standard error has; empty: nothing does
};

}  // namespace sluice
