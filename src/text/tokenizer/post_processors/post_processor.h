#pragma once
// What is put around a text, and between the two of a pair: the "post_processor" of a tokenizer.json, of which those parts matter here
// that add tokens.

#include <nlohmann/json_fwd.hpp>

#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "text/tokenizer/tokenizer.h"

namespace sluice {

struct PostProcessor {
  std::vector<TokenId> prefix, suffix;
  PairForm pair;  // not said where it does something else with two texts than to put tokens between them
};

/// The "post_processor" of a tokenizer.json (an object or null).
Result<PostProcessor> parse_post_processor(const nlohmann::json& description);

// One file each.
Status parse_bert_processing(const nlohmann::json& description, PostProcessor& out);
Status parse_roberta_processing(const nlohmann::json& description, PostProcessor& out);
Status parse_byte_level_processing(const nlohmann::json& description, PostProcessor& out);
Status parse_template_processing(const nlohmann::json& description, PostProcessor& out);

/// Sets what stands around texts; only one part of a Sequence may.
Status put_around(PostProcessor around, PostProcessor& out);
/// The id in a pair ["[SEP]", 102].
Result<TokenId> paired_id(const nlohmann::json& description, const char* key);

}  // namespace sluice
