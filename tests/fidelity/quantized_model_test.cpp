// Quantized weights against the float32 values that they stand for. The only difference is that block types multiply
// activations rounded to int8 in blocks of 32. A value's rounding error is at most max / 254 and about max / 440 in the
// mean square; a block's max is about 2.5 deviations, so each product is off by some 0.6 % of its size. Two layers and
// the head are at most nine products in a row, of independent errors: 0.6 % * sqrt(9) = 1.8 % of the logits' deviation.
// The bound is 3 % in the mean square, and 6 times that (of 8,192 nearly normal values none lies beyond) at the worst.
// Rounding the weights themselves moves the logits by more than that for types of up to 4 bits: the test sees that too, so it
// would see weights that are decoded wrongly.

#include "tests/support/memory_source.h"
#include "tests/support/model_harness.h"

namespace sluice::test {
namespace {

constexpr double kRmsBound = 0.03, kWorstBound = 6 * kRmsBound;

class QuantizedModelTest : public testing::TestWithParam<DType> {};

std::vector<TokenId> random_tokens(int count, int64_t vocab) {
  Rng rng(5);
  std::vector<TokenId> tokens(static_cast<size_t>(count));
  for (TokenId& t : tokens) t = static_cast<TokenId>(rng.below(static_cast<uint64_t>(vocab)));
  return tokens;
}

std::vector<float> run(std::shared_ptr<TensorSource> source, const std::string& isa, std::span<const TokenId> tokens) {
  auto loaded = LoadedModel::open(std::move(source), isa);
  EXPECT_TRUE(loaded.ok()) << (loaded.ok() ? "" : loaded.error().message);
  return loaded.ok() ? logits_of(*(*loaded)->model, tokens) : std::vector<float>();
}

TEST_P(QuantizedModelTest, NearItsDecodedWeights) {
  RandomDecoder shape;
  shape.hidden = 256, shape.ffn = 256, shape.heads = 4, shape.head_dim = 64, shape.vocab = 256;
  const auto original = random_decoder(shape);
  const auto quantized = encoded_source(*original, GetParam());
  ASSERT_EQ(quantized->find("lm_head.weight")->dtype, GetParam());
  const auto tokens = random_tokens(32, shape.vocab);
  const std::vector<float> decoded = run(decoded_source(*quantized), {}, tokens);
  const double deviation = standard_deviation(decoded);
  for (const std::string& isa : usable_isas()) {
    const std::vector<float> logits = run(quantized, isa, tokens);
    const double rms = rms_diff(logits, decoded) / deviation, worst = max_abs_diff(logits, decoded) / deviation;
    std::printf("%s, %s: %.4f of the logits' deviation in the mean square, %.4f at worst\n",
                std::string(dtype_name(GetParam())).c_str(), isa.c_str(), rms, worst);
    EXPECT_LE(rms, kRmsBound) << isa;
    EXPECT_LE(worst, kWorstBound) << isa;
  }
  if (const DTypeInfo& info = dtype_info(GetParam()); 8 * info.block_bytes <= 5 * info.block_elems) {
    EXPECT_GT(rms_diff(run(original, {}, tokens), decoded) / deviation, kRmsBound);
  }
}

TEST_P(QuantizedModelTest, SameBitsHoweverItIsFed) {
  RandomDecoder shape;
  shape.hidden = 256, shape.ffn = 256, shape.heads = 8, shape.kv_heads = 2, shape.head_dim = 32, shape.vocab = 90;
  const auto source = encoded_source(*random_decoder(shape), GetParam());
  const auto tokens = random_tokens(40, shape.vocab);
  const std::vector<int> single{1}, ragged{17, 1, 5};
  for (const std::string& isa : usable_isas()) {
    auto loaded = LoadedModel::open(source, isa);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    Model& model = *(*loaded)->model;
    const std::vector<float> whole = logits_of(model, tokens);
    EXPECT_TRUE(same_bits(TestSequence(model, 40).feed_in_pieces(tokens, single), whole)) << isa;
    EXPECT_TRUE(same_bits(TestSequence(model, 40).feed_in_pieces(tokens, ragged), whole)) << isa;
  }
}

std::vector<DType> block_types() {
  std::vector<DType> types;
  for (const WeightFormat* format : weight_formats())
    if (format->encode != nullptr && (format->unpack != nullptr || format->codes != nullptr)) types.push_back(format->dtype);
  return types;
}

INSTANTIATE_TEST_SUITE_P(Formats, QuantizedModelTest, testing::ValuesIn(block_types()),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });

}  // namespace
}  // namespace sluice::test
