// Random shapes that reach the kernels' tails: a row's logits are the same bits in any chunking, batch, block size and
// thread count, across the pieces of a large batch, and with half-width KV.

#include "tests/support/memory_source.h"
#include "tests/support/model_harness.h"

namespace sluice::test {
namespace {

RandomDecoder random_shape(Rng& rng) {
  RandomDecoder d;
  d.kv_heads = rng.between(1, 3);
  d.heads = d.kv_heads * rng.between(1, 3);
  d.head_dim = 2 * rng.between(2, 20);
  d.hidden = rng.between(17, 90);
  d.ffn = rng.between(17, 130);
  d.vocab = rng.between(20, 140);
  d.layers = rng.between(1, 3);
  d.tied = rng.below(2) == 0;
  d.qkv_bias = d.output_bias = rng.below(2) == 0;
  d.mlp_bias = rng.below(2) == 0;
  d.dtype = std::array{DType::f32, DType::f16, DType::bf16}[rng.below(3)];
  d.seed = rng.next_u64();
  return d;
}

std::vector<TokenId> random_tokens(Rng& rng, int64_t count, int64_t vocab) {
  std::vector<TokenId> tokens(static_cast<size_t>(count));
  for (TokenId& t : tokens) t = static_cast<TokenId>(rng.below(static_cast<uint64_t>(vocab)));
  return tokens;
}

TEST(DecoderExactness, RandomShapesAndChunks) {
  Rng rng(11);
  for (int round = 0; round < 12; ++round) {
    const RandomDecoder shape = random_shape(rng);
    const auto source = random_decoder(shape);
    const auto tokens = random_tokens(rng, rng.between(20, 60), shape.vocab);
    const KvFormat& kv = *kv_formats()[rng.below(kv_formats().size())];
    const int capacity = static_cast<int>(tokens.size());
    for (const std::string& isa : usable_isas()) {
      auto loaded = LoadedModel::open(source, isa, 1 + static_cast<int>(rng.below(3)));
      ASSERT_TRUE(loaded.ok()) << loaded.error().message;
      Model& model = *(*loaded)->model;
      const std::vector<float> whole = TestSequence(model, capacity, 16, kv).feed(tokens);
      std::vector<int> sizes;
      for (int i = 0; i < 5; ++i) sizes.push_back(static_cast<int>(rng.between(1, 12)));
      const int block = kv.block != nullptr ? 16 : static_cast<int>(rng.between(1, 40));  // which is part of a block format's path
      EXPECT_TRUE(same_bits(TestSequence(model, capacity, block, kv).feed_in_pieces(tokens, sizes), whole))
          << isa << ", round " << round;
    }
  }
}

// Longer than a super-tile of attention and than one piece of the forward pass.
TEST(DecoderExactness, LongBatch) {
  Rng rng(12);
  RandomDecoder shape;
  shape.hidden = 32, shape.ffn = 48, shape.vocab = 40, shape.head_dim = 8, shape.layers = 2;
  const auto tokens = random_tokens(rng, 1300, shape.vocab);
  auto loaded = LoadedModel::open(random_decoder(shape));
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  Model& model = *(*loaded)->model;
  const std::vector<float> whole = logits_of(model, tokens);
  const std::vector<int> sizes{300, 1, 77, 515};
  EXPECT_TRUE(same_bits(TestSequence(model, 1300, 64).feed_in_pieces(tokens, sizes), whole));
  const std::vector<int32_t> wanted{511, 512, 513, 1024, 1299};
  const std::vector<float> some = TestSequence(model, 1300).feed_for(tokens, wanted);
  for (size_t i = 0; i < wanted.size(); ++i)
    EXPECT_TRUE(same_bits(std::span(some).subspan(i * 40, 40),
                          std::span(whole).subspan(static_cast<size_t>(wanted[i]) * 40, 40)));
}

// Several sequences in one batch, at different positions, over shuffled blocks, each with the logits of some rows.
TEST(DecoderExactness, BatchOfSequences) {
  Rng rng(13);
  for (int round = 0; round < 6; ++round) {
    RandomDecoder shape = random_shape(rng);
    shape.layers = 2;
    const auto source = random_decoder(shape);
    auto loaded = LoadedModel::open(source, usable_isas()[rng.below(usable_isas().size())]);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    Model& model = *(*loaded)->model;
    const auto vocab = static_cast<size_t>(shape.vocab);
    constexpr int kSequences = 4, kBlock = 4, kBlocksEach = 8;

    std::vector<std::vector<TokenId>> sequences;
    std::vector<std::vector<float>> alone;
    for (int s = 0; s < kSequences; ++s) {
      sequences.push_back(random_tokens(rng, rng.between(5, kBlock * kBlocksEach), shape.vocab));
      alone.push_back(logits_of(model, sequences.back()));
    }
    std::vector<BlockId> pool(kSequences * kBlocksEach);
    std::iota(pool.begin(), pool.end(), BlockId{0});
    for (size_t i = pool.size(); i > 1; --i) std::swap(pool[i - 1], pool[rng.below(i)]);
    const size_t layer_floats = pool.size() * kBlock * static_cast<size_t>(shape.kv_heads * shape.head_dim);
    Buffer memory = std::move(Buffer::allocate(layer_floats * 4 * 2 * 2)).value();
    std::vector<KvLayerView> layers;
    for (size_t l = 0; l < 2; ++l) {
      uint8_t* k = memory.data() + l * 2 * layer_floats * 4;
      layers.push_back({&kKvF32, kBlock, static_cast<int>(shape.kv_heads), static_cast<int>(shape.head_dim), k,
                        k + layer_floats * 4});
    }

    std::vector<size_t> done(kSequences, 0);
    const auto left = [&] {
      size_t n = 0;
      for (size_t s = 0; s < kSequences; ++s) n += sequences[s].size() - done[s];
      return n;
    };
    while (left() > 0) {
      std::vector<TokenId> tokens;
      std::vector<int32_t> positions, wanted;
      std::vector<int64_t> slots;
      std::vector<AttendSegment> segments;
      std::vector<std::pair<size_t, size_t>> wanted_of;  // sequence, position
      for (size_t s = 0; s < kSequences; ++s) {
        const size_t n = std::min<size_t>(rng.below(9), sequences[s].size() - done[s]);
        if (n == 0) continue;
        const BlockId* blocks = pool.data() + s * kBlocksEach;
        segments.push_back({static_cast<int>(tokens.size()), static_cast<int>(n), static_cast<int>(done[s]), blocks});
        for (size_t p = done[s]; p < done[s] + n; ++p) {
          if (rng.below(3) != 0) {
            wanted.push_back(static_cast<int32_t>(tokens.size()));
            wanted_of.emplace_back(s, p);
          }
          tokens.push_back(sequences[s][p]);
          positions.push_back(static_cast<int32_t>(p));
          slots.push_back(static_cast<int64_t>(blocks[p / kBlock]) * kBlock + static_cast<int64_t>(p % kBlock));
        }
        done[s] += n;
      }
      if (tokens.empty()) continue;
      std::vector<float> logits(wanted.size() * vocab);
      model.forward({tokens, positions, slots, segments, wanted}, layers, logits.data());
      for (size_t i = 0; i < wanted.size(); ++i)
        EXPECT_TRUE(same_bits(std::span(logits).subspan(i * vocab, vocab),
                              std::span(alone[wanted_of[i].first]).subspan(wanted_of[i].second * vocab, vocab)))
            << "round " << round << ", sequence " << wanted_of[i].first << ", position " << wanted_of[i].second;
    }
  }
}

}  // namespace
}  // namespace sluice::test
