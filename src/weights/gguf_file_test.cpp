#include "weights/gguf_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <limits>

#include "quant/weight/weight_format.h"
#include "weights/gguf_writer.h"
#include "weights/test_files.h"

namespace sluice {
namespace {

GgufTensor tensor_of(const std::string& name, const Shape& shape, DType dtype, std::vector<float> values) {
  GgufTensor tensor;
  tensor.name = name;
  tensor.shape = shape;
  tensor.dtype = dtype;
  const int64_t cols = shape[shape.rank - 1];
  tensor.fill = [values = std::move(values), cols](int64_t first, int64_t rows, float* out) {
    std::copy_n(values.begin() + first * cols, rows * cols, out);
  };
  return tensor;
}

std::string written(const TempDir& dir, const GgufPlan& plan, const std::string& name = "model.gguf", int threads = 2) {
  ThreadPool pool(threads);
  const auto size = write_gguf(dir.file(name), plan, pool);
  EXPECT_TRUE(size.ok()) << size.error().message;
  EXPECT_EQ(*size, std::filesystem::file_size(dir.file(name)));
  return dir.file(name);
}

GgufPlan small_plan() {
  GgufPlan plan;
  plan.keys = {GgufKey::text("general.architecture", "llama"), GgufKey::u32("llama.block_count", 1)};
  plan.tensors.push_back(tensor_of("a", {3, 64}, DType::f32, random_values(1, 3 * 64)));
  plan.tensors.push_back(tensor_of("b", {64}, DType::f16, random_values(2, 64)));
  return plan;
}

std::string error_of_gguf(const std::string& path) {
  const auto source = open_gguf(path);
  return source.ok() ? "" : source.error().message;
}

TEST(GgufFile, EveryKeyTypeSurvivesTheRoundTrip) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max(), kLeast = std::numeric_limits<int64_t>::min();
  using Ints = std::vector<int64_t>;
  GgufPlan plan;
  plan.keys = {
      {"u8", GgufType::u8, {}, int64_t{255}},
      {"i8", GgufType::i8, {}, int64_t{-128}},
      {"u16", GgufType::u16, {}, int64_t{65535}},
      {"i16", GgufType::i16, {}, int64_t{-32768}},
      {"u32", GgufType::u32, {}, int64_t{4294967295}},
      {"i32", GgufType::i32, {}, int64_t{-2147483648}},
      {"u64", GgufType::u64, {}, kMost},
      {"i64", GgufType::i64, {}, kLeast},
      {"f32", GgufType::f32, {}, 0.5},
      {"f64", GgufType::f64, {}, 1.0 / 3},
      {"yes", GgufType::boolean, {}, true},
      {"no", GgufType::boolean, {}, false},
      {"text", GgufType::string, {}, std::string("a\0b \xe2\x96\x81", 7)},
      {"empty", GgufType::string, {}, std::string()},
      GgufKey::array("strings", GgufType::string, std::vector<std::string>{"", "x", std::string(1000, 'y')}),
      GgufKey::array("i32s", GgufType::i32, Ints{-1, 2, 3}),
      GgufKey::array("u8s", GgufType::u8, Ints{0, 255}),
      GgufKey::array("bools", GgufType::boolean, Ints{1, 0, 1}),
      GgufKey::array("u16s", GgufType::u16, Ints{}),
      GgufKey::array("i64s", GgufType::i64, Ints{kLeast, kMost}),
      GgufKey::array("f32s", GgufType::f32, std::vector<double>{0.25, -4}),
      GgufKey::array("f64s", GgufType::f64, std::vector<double>{0.1}),
      GgufKey::array("no_strings", GgufType::string, std::vector<std::string>{}),
  };
  TempDir dir;
  const auto keys = read_gguf_keys(written(dir, plan));
  ASSERT_TRUE(keys.ok()) << keys.error().message;
  ASSERT_EQ(keys->size(), plan.keys.size());
  for (size_t i = 0; i < keys->size(); ++i) {
    const GgufKey &got = (*keys)[i], &want = plan.keys[i];
    EXPECT_EQ(got.name, want.name);
    EXPECT_EQ(got.type, want.type) << want.name;
    EXPECT_EQ(got.element, want.type == GgufType::array ? want.element : got.element) << want.name;
    EXPECT_EQ(got.value, want.value) << want.name;
  }
}

std::string read_only_bits(size_t bytes) {
  Rng rng(bytes);
  std::string bits(bytes, '\0');
  for (char& c : bits) c = static_cast<char>(rng.below(256));
  return bits;
}

TEST(GgufFile, EveryTensorTypeSurvivesBitForBit) {
  TempDir dir;
  GgufPlan plan;
  std::vector<std::string> expected;
  for (const WeightFormat* format : weight_formats())
    for (const Shape& shape : {Shape{5, 512}, Shape{256}, Shape{2, 3, 256}, Shape{2, 2, 2, 256}}) {
      if (find_ggml_type(format->dtype) == nullptr) continue;  // one of our own, for packs
      const auto values = random_values(plan.tensors.size(), shape.elems());
      if (format->encode == nullptr) {  // read only: any bits
        const size_t row = row_bytes(format->dtype, shape[shape.rank - 1]);
        const auto bits = std::make_shared<std::string>(read_only_bits(row * static_cast<size_t>(shape.elems() / shape[shape.rank - 1])));
        expected.push_back(*bits);
        GgufTensor tensor;
        tensor.name = std::string(format->name) + shape.text();
        tensor.shape = shape;
        tensor.dtype = format->dtype;
        tensor.fill_encoded = [bits, row](int64_t first, int64_t rows, uint8_t* out) {
          std::memcpy(out, bits->data() + static_cast<size_t>(first) * row, static_cast<size_t>(rows) * row);
        };
        plan.tensors.push_back(std::move(tensor));
        continue;
      }
      std::string bytes(row_bytes(format->dtype, shape[shape.rank - 1]) * (shape.elems() / shape[shape.rank - 1]),
                        '\0');
      format->encode(values.data(), bytes.data(), shape.elems());
      expected.push_back(bytes);
      plan.tensors.push_back(
          tensor_of(std::string(format->name) + shape.text(), shape, format->dtype, values));
    }
  for (const DType dtype : {DType::i8, DType::i16, DType::i32, DType::i64, DType::f64}) {  // copied, not encoded
    static const std::string kRaw(8 * 12, '\x5a');
    GgufTensor raw;
    raw.name = std::string(dtype_name(dtype));
    raw.shape = {3, 4};
    raw.dtype = dtype;
    raw.fill_encoded = [row = row_bytes(dtype, 4)](int64_t first, int64_t rows, uint8_t* out) {
      std::memcpy(out, kRaw.data() + first * row, rows * row);
    };
    expected.push_back(kRaw.substr(0, row_bytes(dtype, 12)));
    plan.tensors.push_back(std::move(raw));
  }
  const auto source = open_tensor_source(written(dir, plan));
  ASSERT_TRUE(source.ok()) << source.error().message;
  ASSERT_EQ((*source)->tensors().size(), plan.tensors.size());
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const TensorInfo* info = (*source)->find(plan.tensors[i].name);
    ASSERT_NE(info, nullptr);
    EXPECT_EQ(info->dtype, plan.tensors[i].dtype);
    EXPECT_EQ(info->shape, plan.tensors[i].shape);
    EXPECT_EQ(info->offset_bytes % kGgufAlignment, 0u);
    ASSERT_EQ(info->size_bytes, expected[i].size());
    EXPECT_EQ(std::memcmp((*source)->view(*info).data, expected[i].data(), expected[i].size()), 0) << info->name;
  }
}

TEST(GgufFile, TheBytesDoNotDependOnTheThreadsNorOnThePieces) {
  TempDir dir;
  GgufPlan plan;
  plan.tensors.push_back(tensor_of("wide", {9, 131072}, DType::q8_0, random_values(3, 9 * 131072)));
  size_t calls = 0, last = 0;
  ThreadPool one(1), three(3);
  auto count = [&](size_t done, size_t total, const std::string&) {
    EXPECT_GT(done, last);
    EXPECT_LE(done, total);
    last = done;
    ++calls;
  };
  ASSERT_TRUE(write_gguf(dir.file("1"), plan, one, count).ok());
  EXPECT_GT(calls, 1u);
  ASSERT_TRUE(write_gguf(dir.file("3"), plan, three).ok());
  EXPECT_EQ(read_bytes(dir.file("1")), read_bytes(dir.file("3")));
}

TEST(GgufFile, AFailedWriteLeavesNothingBehind) {
  TempDir dir;
  GgufPlan plan = small_plan();
  plan.tensors[0].shape = {3, 63};
  plan.tensors[0].dtype = DType::q8_0;
  ThreadPool pool(1);
  const auto size = write_gguf(dir.file("x.gguf"), plan, pool);
  ASSERT_FALSE(size.ok());
  EXPECT_NE(size.error().message.find("tensor a [3, 63] cannot be stored as Q8_0"), std::string::npos);
  EXPECT_FALSE(write_gguf(dir.file("missing/x.gguf"), small_plan(), pool).ok());
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(GgufFile, OnlyARegularFileIsReplaced) {
  TempDir dir;
  ThreadPool pool(1);
  std::filesystem::create_directory(dir.file("folder"));
  ASSERT_EQ(::mkfifo(dir.file("pipe").c_str(), 0600), 0);
  std::filesystem::create_symlink(dir.file("pipe"), dir.file("link"));
  for (const char* name : {"folder", "pipe", "link"}) {
    const auto size = write_gguf(dir.file(name), small_plan(), pool);
    ASSERT_FALSE(size.ok()) << name;
    EXPECT_NE(size.error().message.find(dir.file(name) + " exists and is no regular file"), std::string::npos);
  }
  EXPECT_TRUE(std::filesystem::is_fifo(dir.file("pipe")));
  written(dir, small_plan());
  written(dir, small_plan());  // a model may be written again
}

TEST(GgufFile, VersionTwoReadsLikeThree) {
  TempDir dir;
  const std::string path = written(dir, small_plan());
  std::string bytes = read_bytes(path);
  bytes[4] = 2;
  write_bytes(path, bytes);
  EXPECT_EQ(error_of_gguf(path), "");
  bytes[4] = 1;
  write_bytes(path, bytes);
  EXPECT_NE(error_of_gguf(path).find("GGUF version 1; versions 2 and 3 are read"), std::string::npos);
  std::swap(bytes[4], bytes[7]);
  bytes[7] = 3;
  bytes[4] = 0;
  write_bytes(path, bytes);
  EXPECT_NE(error_of_gguf(path).find("big-endian"), std::string::npos);
}

TEST(GgufFile, AnUnreadTensorTypeIsNamed) {
  TempDir dir;
  const std::string path = written(dir, small_plan());
  const std::string bytes = read_bytes(path);
  // "a": name, rank 2, two dimensions, then the type.
  const size_t type_at = bytes.find(std::string("\1\0\0\0\0\0\0\0a", 9)) + 9 + 4 + 16;
  for (const GgmlType& type : ggml_types()) {
    if (type.dtype) continue;
    std::string changed = bytes;
    changed[type_at] = static_cast<char>(type.id);
    write_bytes(path, changed);
    const auto source = open_gguf(path);
    ASSERT_FALSE(source.ok());
    EXPECT_EQ(source.error().code, ErrorCode::unsupported);
    EXPECT_NE(source.error().message.find("tensor a has type " + std::string(type.name) + ", which"), std::string::npos)
        << source.error().message;
    EXPECT_NE(source.error().message.find("Q4_K"), std::string::npos);
  }
}

TEST(GgufFile, LiesAreFound) {
  TempDir dir;
  const std::string path = written(dir, small_plan());
  const std::string bytes = read_bytes(path);
  const auto with = [&](size_t at, uint64_t value, size_t width) {
    std::string changed = bytes;
    std::memcpy(changed.data() + at, &value, width);
    write_bytes(path, changed);
    return error_of_gguf(path);
  };
  const size_t a = bytes.find(std::string("\1\0\0\0\0\0\0\0a", 9)) + 9,
               b = bytes.find(std::string("\1\0\0\0\0\0\0\0b", 9)) + 9;
  EXPECT_NE(with(8, uint64_t{1} << 60, 8).find("the tensor count promises 1152921504606846976 entries"),
            std::string::npos);
  EXPECT_NE(with(16, uint64_t{1} << 60, 8).find("the key-value count promises"), std::string::npos);
  EXPECT_NE(with(24, uint64_t{1} << 60, 8).find("byte 32: a key's name needs 1152921504606846976 bytes"),
            std::string::npos);
  EXPECT_NE(with(a, 5, 4).find("tensor a has 5 dimensions; 1 to 4"), std::string::npos);
  EXPECT_NE(with(a + 4, uint64_t{1} << 62, 8).find("tensor a of type F32 cannot have shape [3, 4611686018427387904]"),
            std::string::npos);
  EXPECT_NE(with(a + 4, 1 << 20, 8).find("tensor a (F32 [3, 1048576]) takes 12582912 bytes at offset 0"),
            std::string::npos);
  EXPECT_NE(with(a + 20, 99, 4).find("tensor a has the unknown type 99"), std::string::npos);
  EXPECT_NE(with(b + 16, 32, 8).find("tensor b at byte"), std::string::npos);
  EXPECT_NE(with(b + 16, 32, 8).find("overlaps tensor a"), std::string::npos);
  EXPECT_NE(with(b + 16, 1, 8).find("tensor b: offset 1 is no multiple of the alignment 32"), std::string::npos);
  EXPECT_NE(with(b - 1, 'a', 1).find("tensor a occurs twice"), std::string::npos);
}

TEST(GgufFile, SplitFilesOpenAsOne) {
  TempDir dir;
  const auto part = [&](int no, const std::string& tensor, int64_t count, int64_t total) {
    GgufPlan plan;
    if (no == 0) plan.keys.push_back(GgufKey::text("general.architecture", "llama"));
    plan.keys.push_back({"split.no", GgufType::u16, {}, int64_t{no}});
    plan.keys.push_back({"split.count", GgufType::u16, {}, count});
    plan.keys.push_back({"split.tensors.count", GgufType::i32, {}, total});
    plan.tensors.push_back(tensor_of(tensor, {2, 32}, DType::f32, random_values(7 + no, 64)));
    return written(dir, plan, fmt::format("m-{:05}-of-00003.gguf", no + 1));
  };
  part(0, "one", 3, 3);
  part(2, "three", 3, 3);
  EXPECT_NE(error_of_gguf(dir.file("m-00001-of-00003.gguf")).find("m-00002-of-00003.gguf"), std::string::npos);
  part(1, "two", 3, 3);
  for (const char* path : {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf"}) {
    const auto source = open_gguf(dir.file(path));
    ASSERT_TRUE(source.ok()) << source.error().message;
    EXPECT_EQ((*source)->files().size(), 3u);
    EXPECT_EQ((*source)->metadata().architecture(), "llama");
    const TensorInfo* three = (*source)->find("three");
    ASSERT_NE(three, nullptr);
    const auto expected = random_values(9, 64);
    EXPECT_EQ(std::memcmp((*source)->view(*three).data, expected.data(), 256), 0);
  }
  part(1, "one", 3, 3);
  EXPECT_NE(error_of_gguf(dir.file("m-00001-of-00003.gguf")).find("tensor one occurs twice"), std::string::npos);
  part(1, "two", 3, 3);
  part(0, "one", 3, 4);
  EXPECT_NE(error_of_gguf(dir.file("m-00001-of-00003.gguf")).find("split.tensors.count is 4, but the 3 parts hold 3"),
            std::string::npos);
  std::filesystem::rename(dir.file("m-00003-of-00003.gguf"), dir.file("m-00002-of-00003.gguf"));
  EXPECT_NE(error_of_gguf(dir.file("m-00001-of-00003.gguf")).find("split.no is 2, but 1 was expected"), std::string::npos);
}

TEST(Metadata, ReadsTellWhatIsWrong) {
  Metadata metadata(MetadataKind::gguf, "file.gguf");
  metadata.set("text", std::string("x"));
  metadata.set("whole", int64_t{3});
  metadata.set("wholes", std::vector<int64_t>{1, 2});
  EXPECT_EQ(*metadata.number("whole"), 3.0);
  EXPECT_EQ(*metadata.numbers("wholes"), (std::vector<double>{1, 2}));
  EXPECT_EQ(metadata.integer("text").error().message, "file.gguf: \"text\" is a string, but an integer is wanted");
  EXPECT_EQ(metadata.integer("none").error().message, "file.gguf: \"none\" is missing (an integer is wanted)");
  EXPECT_EQ(metadata.integer("none").error().code, ErrorCode::not_found);
  EXPECT_EQ(metadata.integer_or("text", 5), 5);
  EXPECT_EQ(metadata.strings("text"), nullptr);
  EXPECT_EQ(metadata.integers("wholes")->size(), 2u);
}

}  // namespace
}  // namespace sluice
