#pragma once
// A look at a model's text side when it is loaded: what a wrong tokenizer or template would break first.

#include <string>

#include "text/chat/chat_template.h"
#include "text/tokenizer/tokenizer.h"

namespace sluice {

/// What is odd, in one line; empty where nothing is. Encodes a few strings and decodes them, whole and as a stream; renders
/// the chat template (null: there is none) once, and looks its markup up in the vocabulary.
std::string text_oddities(const Tokenizer& tokenizer, const ChatTemplate* chat);

}  // namespace sluice
