#include "weights/safetensors_file.h"

#include <gtest/gtest.h>

#include "weights/hf_config.h"
#include "weights/test_files.h"

namespace sluice {
namespace {

constexpr const char* kConfig = R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 8})";

std::string error_of_safetensors(const std::string& path) {
  const auto source = open_tensor_source(path);
  return source.ok() ? "" : source.error().message;
}

TEST(Safetensors, ReadsEveryWeightType) {
  TempDir dir;
  write_bytes(dir.file("config.json"), kConfig);
  SafetensorsBuilder builder;
  const auto values = random_values(1, 24);
  builder.add("f32", {4, 6}, values);
  builder.add("f16", {24}, values, DType::f16);
  builder.add("bf16", {2, 3, 4}, values, DType::bf16);
  write_bytes(dir.file("model.safetensors"), builder.bytes());
  for (const std::string& path : {dir.path(), dir.file("model.safetensors")}) {
    const auto source = open_tensor_source(path);
    ASSERT_TRUE(source.ok()) << source.error().message;
    EXPECT_EQ((*source)->metadata().architecture(), "LlamaForCausalLM");
    const TensorInfo* f32 = (*source)->find("f32");
    ASSERT_NE(f32, nullptr);
    EXPECT_EQ(f32->shape, (Shape{4, 6}));
    EXPECT_EQ(std::memcmp((*source)->view(*f32).data, values.data(), 96), 0);
    const TensorInfo* bf16 = (*source)->find("bf16");
    ASSERT_NE(bf16, nullptr);
    EXPECT_EQ(bf16->shape.rank, 3);
    uint16_t last = 0;
    std::memcpy(&last, static_cast<const char*>((*source)->view(*bf16).data) + 46, 2);
    EXPECT_EQ(last, f32_to_bf16(values[23]));
    EXPECT_EQ((*source)->find("f64"), nullptr);
  }
}

TEST(Safetensors, ShardsOpenAsOne) {
  TempDir dir;
  write_bytes(dir.file("config.json"), kConfig);
  SafetensorsBuilder one, two;
  one.add("a", {2}, {1, 2});
  two.add("b", {1}, {3});
  write_bytes(dir.file("model-00001-of-00002.safetensors"), one.bytes());
  const std::string index = dir.file("model.safetensors.index.json");
  const auto write_index = [&](const std::string& b_in) {
    write_bytes(index,
                R"({"metadata": {"total_size": 12}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": ")" +
                    b_in + "\"}}");
  };
  write_index("model-00002-of-00002.safetensors");
  EXPECT_NE(error_of_safetensors(dir.path()).find("model-00002-of-00002.safetensors"), std::string::npos);
  write_bytes(dir.file("model-00002-of-00002.safetensors"), two.bytes());
  for (const std::string& path : {dir.path(), index, dir.file("model-00002-of-00002.safetensors")}) {
    const auto source = open_tensor_source(path);
    ASSERT_TRUE(source.ok()) << source.error().message;
    EXPECT_EQ((*source)->tensors().size(), 2u);
    EXPECT_EQ(*static_cast<const float*>((*source)->view(*(*source)->find("b")).data), 3.0f);
  }
  write_index("model-00001-of-00002.safetensors");
  EXPECT_NE(error_of_safetensors(dir.path()).find("tensor b is not in model-00001-of-00002.safetensors"), std::string::npos);
  write_index("../secret.safetensors");
  EXPECT_NE(error_of_safetensors(dir.path()).find("a plain file name is wanted"), std::string::npos);
}

TEST(Safetensors, WhatIsMissingIsNamed) {
  TempDir dir;
  EXPECT_NE(error_of_safetensors(dir.path()).find("config.json: not found"), std::string::npos);
  write_bytes(dir.file("config.json"), kConfig);
  EXPECT_NE(error_of_safetensors(dir.path()).find("holds neither model.safetensors.index.json nor model.safetensors"),
            std::string::npos);
  write_bytes(dir.file("pytorch_model.bin"), "x");
  EXPECT_NE(error_of_safetensors(dir.file("pytorch_model.bin")).find("no model that is read here"), std::string::npos);
}

TEST(Safetensors, LiesAreFound) {
  TempDir dir;
  write_bytes(dir.file("config.json"), kConfig);
  const std::string path = dir.file("model.safetensors");
  const auto with = [&](const std::string& header, size_t data_bytes) {
    write_bytes(path, safetensors_bytes(header, std::string(data_bytes, '\0')));
    return error_of_safetensors(path);
  };
  const auto expect = [&](const std::string& header, size_t data_bytes, const std::string& what) {
    const std::string error = with(header, data_bytes);
    EXPECT_NE(error.find(what), std::string::npos) << header << "\n" << error;
    EXPECT_NE(error.find(path), std::string::npos) << error;
  };
  EXPECT_EQ(with(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}   )", 8), "");
  EXPECT_EQ(with(R"({"scalar":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4), "");
  EXPECT_EQ(with(R"({"a":{"dtype":"F32","shape":[0,5],"data_offsets":[0,0]}})", 0), "");
  expect(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4,
         "data_offsets [0, 8], but the data section from byte");
  expect(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8,
         "tensor a is F32 [3], but its data_offsets [0, 8] hold 8");
  expect(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "tensor a has data_offsets [8, 0]");
  expect(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
      12, "tensor b starts at byte");
  expect(
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
      12, "tensor b starts at byte");
  expect(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 12, "the tensors end at byte");
  expect(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}})", 8, "hold 8 bytes");
  expect(R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})", 8,
         "needs a shape of whole numbers");
  expect(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]}})", 8, "needs a shape of whole numbers");
  expect(R"({"a":{"dtype":"F32","shape":[1,1,1,1,2],"data_offsets":[0,8]}})", 8, "more than 4 dimensions");
  expect(R"({"a":{"dtype":"F8_E8M0","shape":[8],"data_offsets":[0,8]}})", 8,
         "tensor a has dtype F8_E8M0, which is not read");
  expect(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"extra":1}})", 8, "unexpected field \"extra\"");
  expect(R"({"a":{"dtype":"F32","shape":[2]}})", 0, "lacks one of dtype, shape and data_offsets");
  expect(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
      8, "needs one dtype");
  expect(R"({"a":7})", 0, "unexpected field");
  expect(R"([1])", 0, "must be an object");
  expect(R"({"a":)", 0, "invalid JSON");
  expect(std::string(100000, '['), 0, "must be an object");
  expect("{\"a\":" + std::string(100000, '['), 0, "nests deeper than 16 levels");
  write_bytes(path, std::string("\xff\xff\xff\xff\xff\xff\xff\x0f{}", 10));
  EXPECT_NE(error_of_safetensors(path).find("byte 0: a header of 1152921504606846975 bytes; at most"), std::string::npos);
  write_bytes(path, "abc");
  EXPECT_NE(error_of_safetensors(path).find("byte 0: the header length needs 8 bytes, but the file has 3"), std::string::npos);
}

TEST(HfConfig, FlattensWithDots) {
  const auto metadata = flatten_json(
      R"({"a": {"b": {"c": 1.5}}, "list": [1, 2], "mixed": [1, "x"], "texts": ["p", "q"], "floats": [1, 2.5], "flag": true,
          "none": null, "objects": [{"x": 1}, {"x": 2}], "big": 18446744073709551615, "empty": [],
          "limits": [0.0, Infinity], "least": -Infinity, "text": "\"Infinity\" or -Infinity"})",
      "here.json");
  ASSERT_TRUE(metadata.ok()) << metadata.error().message;
  EXPECT_EQ(*metadata->number("a.b.c"), 1.5);
  EXPECT_EQ(*metadata->integers("list"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(*metadata->strings("texts"), (std::vector<std::string>{"p", "q"}));
  EXPECT_EQ(*metadata->doubles("floats"), (std::vector<double>{1, 2.5}));
  EXPECT_EQ(*metadata->integer("objects.1.x"), 2);
  EXPECT_TRUE(*metadata->boolean("flag"));
  EXPECT_FALSE(metadata->has("none"));
  EXPECT_TRUE(metadata->is_null("none"));
  EXPECT_FALSE(metadata->is_null("other"));
  EXPECT_FALSE(metadata->has("mixed"));
  EXPECT_FALSE(metadata->has("limits"));
  EXPECT_TRUE(metadata->is_null("least"));
  EXPECT_EQ(*metadata->string("text"), "\"Infinity\" or -Infinity");
  EXPECT_GT(*metadata->number("big"), 1.8e19);
  EXPECT_NE(flatten_json("{\"a\": 1", "here.json").error().message.find("here.json: byte"), std::string::npos);
}

TEST(HfConfig, NewRopeParametersReadLikeTheOld) {
  TempDir dir;
  write_bytes(dir.file("config.json"),
              R"({"rope_parameters": {"rope_theta": 500000.0, "rope_type": "llama3", "factor": 8.0}})");
  auto config = load_config(dir.file("config.json"));
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(*config->number("rope_theta"), 500000.0);
  EXPECT_EQ(*config->string("rope_scaling.rope_type"), "llama3");
  EXPECT_EQ(*config->number("rope_scaling.factor"), 8.0);
  write_bytes(dir.file("config.json"), R"({"rope_theta": 1e4, "rope_scaling": {"type": "linear", "factor": 2}})");
  config = load_config(dir.file("config.json"));
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(*config->string("rope_scaling.rope_type"), "linear");
}

TEST(HfConfig, GenerationConfigIsOptional) {
  TempDir dir;
  auto config = load_generation_config(dir.path());
  ASSERT_TRUE(config.ok());
  EXPECT_TRUE(config->values().empty());
  write_bytes(dir.file("generation_config.json"), R"({"temperature": 0.6, "eos_token_id": [128001, 128009]})");
  config = load_generation_config(dir.file("model.safetensors"));
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->number_or("temperature", 1), 0.6);
  EXPECT_EQ(*config->integers("eos_token_id"), (std::vector<int64_t>{128001, 128009}));
  write_bytes(dir.file("generation_config.json"), "{");
  EXPECT_FALSE(load_generation_config(dir.path()).ok());
}

}  // namespace
}  // namespace sluice
