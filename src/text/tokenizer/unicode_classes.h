#pragma once
// Classes of characters as the parts of tokenizer.json see them. Models were trained with a library whose tables are those
// of Unicode 8: what has been added since has no class there, nor here.

#include <cstdint>

namespace sluice {

bool is_other(uint32_t c);            // control, format, private use
bool is_punctuation(uint32_t c);      // and the symbols of ASCII
bool is_combining_mark(uint32_t c);   // M
bool is_nonspacing_mark(uint32_t c);  // Mn
bool is_number(uint32_t c);           // N

}  // namespace sluice
