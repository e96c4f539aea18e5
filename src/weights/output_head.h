#pragma once
// Where a model's logits come from: a matrix of its own, or the token embedding again (a tied head).

#include <algorithm>
#include <string_view>

namespace sluice {

/// Whether a tensor is the head's own matrix, as GGUF or Hugging Face name it.
inline bool is_output_head(std::string_view name) { return name == "output.weight" || name == "lm_head.weight"; }

inline bool is_token_embedding(std::string_view name) {
  return name == "token_embd.weight" || name == "model.embed_tokens.weight";
}

/// Whether a model of these `tensors` (anything with a `name`) has a head of its own. If not, its token embedding is
/// multiplied as well as looked up.
bool has_own_head(const auto& tensors) {
  return std::ranges::any_of(tensors, [](const auto& tensor) { return is_output_head(tensor.name); });
}

}  // namespace sluice
