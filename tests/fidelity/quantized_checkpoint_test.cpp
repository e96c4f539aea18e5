// A whole model that GPTQ quantized in the order of its activations (tests/golden/make_checkpoints.py), against its
// decoded weights and however it is fed. The bounds are those of quantized_model_test.cpp.

#include "tests/support/model_harness.h"
#include "weights/decoded_source.h"

namespace sluice::test {
namespace {

const std::string kModel = SLUICE_SOURCE_DIR "/tests/data/checkpoints/gptq_model";

TEST(QuantizedCheckpointModel, NearItsDecodedWeightsAndTheSameBitsHoweverItIsFed) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < 32; ++i) tokens.push_back((i * 37 + 11) % 64);
  const auto decoded = decode_source(*open_tensor_source(kModel));
  ASSERT_TRUE(decoded.ok()) << decoded.error().message;
  const auto reference = LoadedModel::open(*decoded, "ref");
  ASSERT_TRUE(reference.ok()) << reference.error().message;
  const std::vector<float> want = logits_of(*(*reference)->model, tokens);
  const double deviation = standard_deviation(want);
  EXPECT_GT(deviation, 0.1);
  std::vector<float> first;
  for (const std::string& isa : usable_isas()) {
    auto loaded = LoadedModel::open(kModel, isa);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    Model& model = *(*loaded)->model;
    const std::vector<float> logits = logits_of(model, tokens);
    EXPECT_LE(rms_diff(logits, want) / deviation, 0.03) << isa;
    EXPECT_LE(max_abs_diff(logits, want) / deviation, 0.18) << isa;
    EXPECT_GT(rms_diff(logits, want), 0) << "products of quantized activations differ a little";
    const std::vector<int> single{1}, ragged{17, 1, 5};
    EXPECT_TRUE(same_bits(TestSequence(model, 40).feed_in_pieces(tokens, single), logits)) << isa;
    EXPECT_TRUE(same_bits(TestSequence(model, 40).feed_in_pieces(tokens, ragged), logits)) << isa;
  }
}

}  // namespace
}  // namespace sluice::test
