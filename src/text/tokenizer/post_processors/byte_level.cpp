// ByteLevel: moves offsets only.

#include "text/tokenizer/post_processors/post_processor.h"

namespace sluice {

Status parse_byte_level_processing(const nlohmann::json&, PostProcessor&) { return {}; }

}  // namespace sluice
