// Checkpoints of other tools against the matrices that those tools say they hold (tests/golden/make_checkpoints.py).

#include "weights/quantized_source.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>

#include "backend/op_table.h"
#include "quant/weight/weight_format.h"
#include "weights/fingerprint.h"
#include "weights/test_files.h"
#include "weights/weight_store.h"

namespace sluice {
namespace {

const std::string kCheckpoints = SLUICE_SOURCE_DIR "/tests/data/checkpoints/";
constexpr const char* kMatrix = "model.layers.0.mlp.up_proj.weight";
constexpr const char* kExperts = "model.layers.0.mlp.experts.gate_up_proj";

struct Checkpoint {
  const char* name;
  DType dtype;
  double published_bits;  // a weight takes in its file, for groups of 128 and more
};
constexpr Checkpoint kAll[] = {
    {"gptq4", DType::u4_g128, 4},
    {"gptq4_act_order", DType::u4_g32, 4},
    {"gptq4_rows", DType::u4_g128, 4},
    {"gptq8", DType::u8_g32, 8},
    {"gptq8_act_order", DType::u8_g128, 8},
    {"awq", DType::u4_g128, 4},
    {"awq_g64", DType::u4_g32, 4},
    {"w4a16", DType::u4_g128, 4},
    {"w4a16_asym", DType::u4_g32, 4},
    {"w4a16_act_order", DType::u4_g32, 4},
    {"w8a16", DType::u8_g128, 8},
    {"w8a8", DType::u8_g128, 8},
    {"fp8_rows", DType::f8_g32, 8},
    {"fp8_tensor", DType::f8_g128, 8},
    {"fp8_blocks", DType::f8_g128, 8},
    {"nf4", DType::nf4_g64, 4},
    {"nf4_double", DType::nf4_g64, 4},
    {"bnb_int8", DType::u8_g128, 8},
    {"mxfp4", DType::mxfp4, 4},
    {"bitnet", DType::tq2_0, 2},
};

class QuantizedCheckpoint : public testing::TestWithParam<Checkpoint> {
 protected:
  void SetUp() override {
    auto opened = open_tensor_source(kCheckpoints + GetParam().name);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    source_ = *opened;
    info_ = source_->find(std::string_view(GetParam().name) == "mxfp4" ? kExperts : kMatrix);
    ASSERT_NE(info_, nullptr);
    const std::string bytes = read_bytes(kCheckpoints + GetParam().name + "/golden.f32");
    golden_.resize(bytes.size() / 4);
    std::memcpy(golden_.data(), bytes.data(), bytes.size());
    ASSERT_EQ(static_cast<int64_t>(golden_.size()), info_->shape.elems());
  }
  int64_t k() const { return info_->shape[info_->shape.rank - 1]; }
  int64_t n() const { return info_->shape.elems() / k(); }

  std::shared_ptr<TensorSource> source_;
  const TensorInfo* info_ = nullptr;
  std::vector<float> golden_;
};
INSTANTIATE_TEST_SUITE_P(All, QuantizedCheckpoint, testing::ValuesIn(kAll),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(QuantizedCheckpoint, HoldsTheMatrixExactly) {
  EXPECT_EQ(info_->dtype, GetParam().dtype);
  EXPECT_LE(8.0 * static_cast<double>(info_->size_bytes),
            (GetParam().published_bits + 1.25) * static_cast<double>(info_->shape.elems()));
  const std::span<const int32_t> order = source_->column_order(*info_);
  EXPECT_EQ(!order.empty(), std::string_view(GetParam().name).ends_with("act_order"));
  std::vector<float> row(static_cast<size_t>(k()));
  const auto* rows = static_cast<const uint8_t*>(source_->view(*info_).data);
  for (int64_t r = 0; r < n(); ++r) {
    weight_format(info_->dtype)->decode(rows + static_cast<size_t>(r) * row_bytes(info_->dtype, k()), row.data(), k());
    for (int64_t j = 0; j < k(); ++j) {
      const int64_t column = order.empty() ? j : order[static_cast<size_t>(j)];
      const float want = golden_[static_cast<size_t>(r * k() + column)];
      ASSERT_EQ(row[static_cast<size_t>(j)], want) << "row " << r << " column " << column;
    }
  }
}

TEST_P(QuantizedCheckpoint, ShowsOnlyTheModelsTensors) {
  const TensorInfo* scale = source_->find("model.layers.0.mlp.up_proj.weight_scale");  // BitNet's, which its family multiplies by
  EXPECT_EQ(scale != nullptr, std::string_view(GetParam().name) == "bitnet");
  if (scale != nullptr) {
    EXPECT_EQ(*static_cast<const float*>(source_->view(*scale).data), 1.5f);
  }
  EXPECT_EQ(source_->tensors().size(), scale != nullptr ? 3u : 2u);  // the matrix and a norm, whose values are as they were
  const TensorInfo* norm = source_->find("model.norm.weight");
  ASSERT_NE(norm, nullptr);
  EXPECT_EQ(static_cast<const float*>(source_->view(*norm).data)[7], 1.0f);
  for (const auto& [key, value] : source_->metadata().values()) EXPECT_FALSE(key.starts_with("quantization_config")) << key;
  // A fingerprint is of the files.
  EXPECT_GT(source_->as_in_files().tensors().size(), 2u);
  EXPECT_TRUE(model_fingerprint(*source_).ok());
}

TEST_P(QuantizedCheckpoint, MultipliesAlikeOnEveryTable) {
  if (info_->shape.rank != 2) GTEST_SKIP() << "experts are no matrix";
  ThreadPool pool(2);
  const std::vector<float> x = random_values(3, 5 * k()), gain = random_values(4, k());
  std::vector<float> want;
  for (const std::string isa : {"ref", "avx2", "avxvnni", "avx512bw", "avx512"}) {
    const auto table = select_op_table(isa);
    if (!table.ok()) continue;
    const Ops ops(**table, pool);
    WeightStore store(source_, ops);
    const auto matrix = store.matrix({kMatrix, {n(), k()}}, n(), k());
    ASSERT_TRUE(matrix.ok()) << matrix.error().message;
    std::vector<float> y(static_cast<size_t>(5 * n()));
    const MatmulOut out{&*matrix, nullptr, y.data(), n()};
    const Norm norm{Norm::Kind::rms, gain.data(), nullptr, 1e-5f};
    ops.matmul({x.data(), 5, k(), norm}, {&out, 1});
    if (want.empty()) {
      want = y;
      std::vector<float> normed(x.size());
      ops.norm(x.data(), norm, 5, k(), normed.data());
      double error = 0, size = 0;
      for (int64_t r = 0; r < 5; ++r)
        for (int64_t c = 0; c < n(); ++c) {
          double sum = 0;
          for (int64_t i = 0; i < k(); ++i)
            sum += static_cast<double>(normed[static_cast<size_t>(r * k() + i)]) *
                   golden_[static_cast<size_t>(c * k() + i)];
          error += (sum - y[static_cast<size_t>(r * n() + c)]) * (sum - y[static_cast<size_t>(r * n() + c)]);
          size += sum * sum;
        }
      EXPECT_LE(std::sqrt(error / size), 0.012);  // activations are rounded to 8 bits
    }
    ASSERT_EQ(std::memcmp(y.data(), want.data(), y.size() * 4), 0) << isa;
  }
}

// --- what is refused -----------------------------------------------------------------------------------------------

class QuantizedErrors : public testing::Test {
 protected:
  // Opens a checkpoint whose config.json has `from` replaced by `to`.
  std::string error_of(const std::string& name, const std::string& from, const std::string& to) {
    std::string config = read_bytes(kCheckpoints + name + "/config.json");
    const size_t at = config.find(from);
    EXPECT_NE(at, std::string::npos) << config;
    config.replace(at, from.size(), to);
    write_bytes(dir_.file("config.json"), config);
    write_bytes(dir_.file("model.safetensors"), read_bytes(kCheckpoints + name + "/model.safetensors"));
    const auto source = open_tensor_source(dir_.path());
    return source.ok() ? "" : source.error().message;
  }
  // The same whose header has a tensor's name replaced by one as long.
  std::string error_without(const std::string& name, const std::string& part) {
    std::string file = read_bytes(kCheckpoints + name + "/model.safetensors");
    const size_t at = file.find("." + part + "\"");
    EXPECT_NE(at, std::string::npos);
    file[at + 1] = '_';
    write_bytes(dir_.file("config.json"), read_bytes(kCheckpoints + name + "/config.json"));
    write_bytes(dir_.file("model.safetensors"), file);
    const auto source = open_tensor_source(dir_.path());
    return source.ok() ? "" : source.error().message;
  }
  void expect(const std::string& message, const std::string& part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }

  TempDir dir_;
};

TEST_F(QuantizedErrors, NameTheMethodOrTheKey) {
  expect(error_of("gptq4", "\"gptq\",\n  \"bits\"", "\"aqlm\",\n  \"bits\""),
         "quantization_config.quant_method is \"aqlm\"; read are gptq, awq,");
  expect(error_of("gptq4", "\"bits\": 4", "\"bits\": 3"), "quantization_config.bits is 3; read are 4 and 8");
  expect(error_of("gptq4", "\"bits\": 4", "\"bots\": 4"), "quantization_config.bits");
  expect(error_of("gptq4", "\"checkpoint_format\": \"gptq\"", "\"checkpoint_format\": \"marlin\""),
         "quantization_config.checkpoint_format is \"marlin\"; read is gptq, gptq_v2");
  expect(error_of("awq", "\"version\": \"gemm\"", "\"version\": \"gemv\""),
         "quantization_config.version is \"gemv\"; read is gemm");
  expect(error_of("w4a16", "\"format\": \"pack-quantized\"", "\"format\": \"nvfp4-pack-quantized\""),
         "quantization_config.format is \"nvfp4-pack-quantized\"");
  expect(error_of("w4a16", "\"num_bits\": 4", "\"num_bits\": 3"),
         "quantization_config.config_groups.group_0.weights.num_bits is 3; read are 4 and 8");
  expect(error_of("nf4", "\"bnb_4bit_quant_type\": \"nf4\"", "\"bnb_4bit_quant_type\": \"fp4\""),
         "quantization_config.bnb_4bit_quant_type is \"fp4\"");
  expect(error_of("bitnet", "\"quantization_mode\": \"offline\"", "\"use_rms_norm\": true"), "quantization_config.use_rms_norm is true");
  expect(error_of("fp8_blocks", "\"fmt\": \"e4m3\"", "\"fmt\": \"e5m2\""), "quantization_config.fmt is \"e5m2\"");
}

TEST_F(QuantizedErrors, NameTheTensor) {
  expect(error_of("gptq4", "\"group_size\": 128", "\"group_size\": 48"),
         "up_proj.qweight has groups of 48 in rows of 256 values; both must be multiples of 32");
  expect(error_of("gptq4", "\"group_size\": 128", "\"group_size\": 64"),
         "up_proj.scales has shape [2, 24]; [4, 24] is wanted");
  expect(error_of("gptq4", "\"bits\": 4", "\"bits\": 8"), "up_proj.scales has shape [2, 24]");
  expect(error_of("gptq4_act_order", "\"group_size\": 32", "\"group_size\": 64"),
         "up_proj.scales has shape [8, 24]; [4, 24] is wanted");
  expect(error_of("fp8_blocks", "128,\n   128", "64,\n   64"),
         "up_proj.weight_scale_inv has shape [2, 2] for a matrix [136, 256]");
  expect(error_without("gptq4", "scales"), "tensor model.layers.0.mlp.up_proj.scales [2, 24] is missing");
  expect(error_without("awq", "qzeros"), "tensor model.layers.0.mlp.up_proj.qzeros [2, 3] is missing");
  expect(error_without("w4a16", "weight_shape"), "tensor model.layers.0.mlp.up_proj.weight_shape [2] is missing");
  expect(error_without("w8a8", "weight_scale"), "up_proj.weight_scale");
  expect(error_without("fp8_blocks", "weight_scale_inv"), "up_proj.weight_scale [1] is missing");
  expect(error_without("nf4_double", "nested_absmax"), "nested_absmax [1] is missing");
}

// Sizes, names and settings that lie are refused, or what is left is read: never past a part's end.
TEST_F(QuantizedErrors, DamagedHeadersAndConfigurations) {
  Rng rng(5);
  int opened = 0;
  for (const Checkpoint& c : kAll) {
    const std::string config = read_bytes(kCheckpoints + c.name + "/config.json"),
                      file = read_bytes(kCheckpoints + c.name + "/model.safetensors");
    uint64_t header = 0;
    std::memcpy(&header, file.data(), 8);
    for (int round = 0; round < 60; ++round) {
      std::string bad_config = config, bad_file = file;
      for (int i = 0; i < 2; ++i) {
        const bool digit = rng.below(2) == 0;
        std::string& text = rng.below(3) == 0 ? bad_config : bad_file;
        const size_t first = &text == &bad_file ? 8 : 0,
                     size = &text == &bad_file ? static_cast<size_t>(header) : text.size();
        char& at = text[first + rng.below(size)];
        at = digit && at >= '0' && at <= '9' ? static_cast<char>('0' + rng.below(10))
             : digit                         ? at
                                             : static_cast<char>(at ^ (1 << rng.below(7)));
      }
      write_bytes(dir_.file("config.json"), bad_config);
      write_bytes(dir_.file("model.safetensors"), bad_file);
      const auto source = open_tensor_source(dir_.path());
      if (!source.ok()) {
        EXPECT_FALSE(source.error().message.empty());
        continue;
      }
      ++opened;
      for (const TensorInfo& info : (*source)->tensors()) (*source)->view(info);
    }
  }
  EXPECT_GT(opened, 100);
}

// The groups of the columns may not be what they are said to be.
TEST_F(QuantizedErrors, OrdersThatAreNone) {
  const std::string name = "gptq4_act_order";
  const auto source = *open_tensor_source(kCheckpoints + name);
  const TensorInfo* g_idx = source->as_in_files().find("model.layers.0.mlp.up_proj.g_idx");
  ASSERT_NE(g_idx, nullptr);
  for (const auto& [group, message] : std::map<int32_t, std::string>{
           {8, "names group 8 of 8"}, {-1, "names group -1 of 8"}, {7, "every group must have 32"}}) {
    std::string file = read_bytes(kCheckpoints + name + "/model.safetensors");
    int32_t first;
    std::memcpy(&first, &file[g_idx->offset_bytes], 4);
    ASSERT_NE(first, 7);
    std::memcpy(&file[g_idx->offset_bytes], &group, 4);
    write_bytes(dir_.file("config.json"), read_bytes(kCheckpoints + name + "/config.json"));
    write_bytes(dir_.file("model.safetensors"), file);
    const auto opened = open_tensor_source(dir_.path());
    ASSERT_FALSE(opened.ok());
    expect(opened.error().message, message);
  }
}

}  // namespace
}  // namespace sluice
