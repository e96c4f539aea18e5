#include "weights/output_head.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sluice {
namespace {

struct Named {
  std::string name;
};

TEST(OutputHead, IsTiedUnlessEitherFormatsHeadIsThere) {
  const std::vector<Named> gguf = {{"token_embd.weight"}, {"blk.0.attn_output.weight"}, {"output_norm.weight"}};
  const std::vector<Named> huggingface = {{"model.embed_tokens.weight"}, {"model.norm.weight"}};
  for (const auto& [tied, head] : {std::pair{gguf, "output.weight"}, std::pair{huggingface, "lm_head.weight"}}) {
    EXPECT_FALSE(has_own_head(tied));
    std::vector<Named> untied = tied;
    untied.push_back({head});
    EXPECT_TRUE(has_own_head(untied));
  }
}

}  // namespace
}  // namespace sluice
