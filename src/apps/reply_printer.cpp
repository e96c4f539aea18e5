#include "apps/reply_printer.h"

#include <unistd.h>

#include <cstdio>

namespace sluice {
namespace {

// Both streams may be one terminal: what was written must be there before the other goes on.
void write(std::FILE* file, const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), file);
  std::fflush(file);
}

bool dims() {
  static const bool terminal = isatty(STDERR_FILENO) != 0;
  return terminal;
}

}  // namespace

void ReplyPrinter::note(const std::string& label, const std::string& text) {
  shown_ = true;
  if (noting_ != label) {
    end_note();
    write(stderr, (dims() ? "\033[2m[" : "[") + label + "] ");
    noting_ = label;
  }
  write(stderr, text);
}

void ReplyPrinter::end_note() {
  if (!noting_.empty()) write(stderr, dims() ? "\033[0m\n" : "\n");
  noting_.clear();
}

void ReplyPrinter::take(Choice& choice) {
  const std::string reasoning = choice.take_reasoning();
  if (!reasoning.empty() && show_reasoning_) note("reasoning", reasoning);
  hid_reasoning_ |= !reasoning.empty() && !show_reasoning_;
  for (const HarmonyReply::CallPiece& call : choice.take_calls()) {
    if (!call.name.empty()) end_note();
    note("call", call.name.empty() ? call.arguments : call.name + " " + call.arguments);
  }
  const std::string content = choice.take_text();
  if (content.empty()) return;
  end_note();
  shown_ = true;
  write(stdout, content);
  content_ += content;
}

void ReplyPrinter::finish() {
  end_note();
  if (hid_reasoning_ && !shown_) write(stderr, "[the reply ended in its reasoning, which --reasoning shows]\n");
}

}  // namespace sluice
