// Damaged model files of both formats: an error or a success, never a crash, a hang or a large allocation.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "weights/convert.h"
#include "weights/gguf_file.h"
#include "weights/gguf_writer.h"
#include "weights/native_pack.h"
#include "weights/test_files.h"

namespace sluice {
namespace {

constexpr int kFlips = 4000;

std::string gguf_bytes(const TempDir& dir) {
  GgufPlan plan;
  plan.keys = {GgufKey::text("general.architecture", "llama"), GgufKey::u32("llama.block_count", 1),
               GgufKey::f32("llama.rope.freq_base", 1e4),
               GgufKey::array("tokenizer.ggml.tokens", GgufType::string, std::vector<std::string>{"<s>", "a", "bc"}),
               GgufKey::array("tokenizer.ggml.scores", GgufType::f32, std::vector<double>{0, -1, -2}),
               GgufKey::array("tokenizer.ggml.token_type", GgufType::i32, std::vector<int64_t>{3, 1, 1})};
  for (const DType dtype : {DType::f32, DType::q8_0, DType::q4_k}) {
    GgufTensor tensor;
    tensor.name = "blk.0." + std::string(dtype_name(dtype));
    tensor.shape = {2, 256};
    tensor.dtype = dtype;
    tensor.fill = [](int64_t, int64_t rows, float* out) { std::fill_n(out, rows * 256, 0.5f); };
    plan.tensors.push_back(std::move(tensor));
  }
  ThreadPool pool(1);
  EXPECT_TRUE(write_gguf(dir.file("whole.gguf"), plan, pool).ok());
  return read_bytes(dir.file("whole.gguf"));
}

std::string safetensors_whole() {
  SafetensorsBuilder builder;
  builder.add("model.embed_tokens.weight", {4, 8}, random_values(1, 32));
  builder.add("model.norm.weight", {8}, random_values(2, 8), DType::bf16);
  builder.add("lm_head.weight", {4, 8}, random_values(3, 32), DType::f16);
  return builder.bytes();
}

// Opens and touches every byte that the reader says is there.
void open_and_touch(const std::string& path, const std::string& why) {
  const auto source = open_tensor_source(path);
  if (!source.ok()) {
    EXPECT_NE(source.error().message.find(std::filesystem::path(path).parent_path().string()), std::string::npos)
        << why << ": the error names no file: " << source.error().message;
    return;
  }
  unsigned sum = 0;
  for (const TensorInfo& info : (*source)->tensors()) {
    const auto* bytes = info.packed ? (*source)->panels(info).data
                                    : static_cast<const uint8_t*>((*source)->view(info).data);
    for (size_t i = 0; i < info.size_bytes; ++i) sum += bytes[i];
  }
  EXPECT_GE(sum, 0u);
}

long peak_kib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

void damage(const TempDir& dir, const std::string& path, const std::string& whole, size_t header_bytes) {
  write_bytes(path, whole);
  ASSERT_TRUE(open_tensor_source(path).ok());
  const long before = peak_kib();
  for (int i = 0; i < 200; ++i) {
    write_bytes(path, std::string_view(whole).substr(0, whole.size() * i / 200));
    EXPECT_FALSE(open_tensor_source(path).ok()) << "cut to " << i << "/200";
    open_and_touch(path, fmt::format("cut to {}/200", i));
  }
  Rng rng(11);
  for (int i = 0; i < kFlips; ++i) {
    std::string damaged = whole;
    const auto changes = 1 + rng.below(3);
    for (uint64_t c = 0; c < changes; ++c) damaged[rng.below(header_bytes)] = static_cast<char>(rng.below(256));
    write_bytes(path, damaged);
    open_and_touch(path, fmt::format("damage {}", i));
  }
  // Every 8-byte window of the header as a huge count or length.
  for (size_t at = 0; at + 8 <= header_bytes; ++at)
    for (const uint64_t lie : {uint64_t{1} << 60, ~uint64_t{0}, uint64_t{1} << 33}) {
      std::string damaged = whole;
      std::memcpy(damaged.data() + at, &lie, 8);
      write_bytes(path, damaged);
      open_and_touch(path, fmt::format("{} at {}", lie, at));
    }
  EXPECT_LT(peak_kib() - before, 200 * 1024) << "a lying count was believed";
  (void)dir;
}

TEST(HostileFile, Gguf) {
  TempDir dir;
  const std::string whole = gguf_bytes(dir);
  write_bytes(dir.file("whole.gguf"), whole);
  const auto file = MappedFile::open(dir.file("whole.gguf"));
  ASSERT_TRUE(file.ok());
  const auto header = read_gguf_header(**file);
  ASSERT_TRUE(header.ok());
  damage(dir, dir.file("x.gguf"), whole, header->data_offset_bytes);
}

TEST(HostileFile, NativePack) {
  TempDir dir;
  gguf_bytes(dir);
  ThreadPool pool(1);
  ASSERT_TRUE(write_gguf(dir.file("m.gguf"), as_pack(plan_requantize(dir.file("whole.gguf"), nullptr).value()), pool).ok());
  const auto source = *open_tensor_source(dir.file("m.gguf"));
  const TensorInfo& last = source->tensors().back();
  ASSERT_TRUE(last.packed);
  // Without the padding at the end, which nobody would miss; the header ends with the last tensor's info.
  const std::string whole = read_bytes(dir.file("m.gguf")).substr(0, last.offset_bytes + last.size_bytes);
  damage(dir, dir.file("x.gguf"), whole, whole.find(last.name) + last.name.size() + 4 + 2 * 8 + 4 + 8);
}

TEST(HostileFile, Safetensors) {
  TempDir dir;
  write_bytes(dir.file("config.json"), "{}");
  const std::string whole = safetensors_whole();
  uint64_t header = 0;
  std::memcpy(&header, whole.data(), 8);
  damage(dir, dir.file("model.safetensors"), whole, 8 + header);
}

TEST(HostileFile, ConfigAndIndex) {
  TempDir dir;
  write_bytes(dir.file("model.safetensors"), safetensors_whole());
  const std::string config =
      R"({"architectures": ["LlamaForCausalLM"], "rope_scaling": {"factor": 8.0, "x": [1, 2, [3]]}})";
  const std::string index = R"({"metadata": {}, "weight_map": {"model.norm.weight": "model.safetensors"}})";
  Rng rng(5);
  for (int i = 0; i < kFlips / 2; ++i) {
    std::string damaged[2] = {config, index};
    for (auto& text : damaged) text[rng.below(text.size())] = static_cast<char>(rng.below(256));
    write_bytes(dir.file("config.json"), damaged[0]);
    write_bytes(dir.file("model.safetensors.index.json"), damaged[1]);
    open_and_touch(dir.path(), fmt::format("damage {}", i));
  }
}

}  // namespace
}  // namespace sluice
