// tests/data/families/<name>/ of encoders, embedding models and rerankers: the last hidden states, the pooled vectors and the scores that
// transformers computed in float32 (tests/golden/fidelity/encoders.py), from both kinds of file.

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <ostream>

#include "base/rng.h"
#include "model/encoder.h"
#include "tests/support/golden.h"
#include "tests/support/memory_source.h"
#include "tests/support/model_harness.h"
#include "weights/safetensors_writer.h"
#include "weights/test_gguf.h"

namespace sluice::test {
namespace {

namespace fs = std::filesystem;

constexpr double kTolerance = 1e-4;

struct EncoderFile {
  std::string name, directory, path;
};
void PrintTo(const EncoderFile& file, std::ostream* out) { *out << file.path; }

std::vector<EncoderFile> encoder_files() {
  std::vector<EncoderFile> files;
  for (const auto& entry : fs::directory_iterator(SLUICE_SOURCE_DIR "/tests/data/families")) {
    const std::string directory = entry.path().string(), name = entry.path().filename().string();
    if (!fs::exists(entry.path() / "golden.json") || !read_json(directory + "/golden.json").contains("texts")) continue;
    files.push_back({name + "_hf", directory, directory});
    const nlohmann::json twins = read_json(directory + "/gguf.json").at("files");
    for (const auto& [file, facts] : twins.items()) files.push_back({name + "_gguf", directory, directory + "/" + file});
  }
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return files;
}

/// An encoder with everything that must outlive it.
struct LoadedEncoder {
  LoadedEncoder(std::shared_ptr<TensorSource> source, const OpTable& table, int threads) : pool(threads), ops(table, pool), store(std::move(source), ops) {}

  static Result<std::unique_ptr<LoadedEncoder>> open(std::shared_ptr<TensorSource> source, const TextUse& use, const std::string& isa, int threads) {
    SLUICE_TRY(const OpTable* table, select_op_table(isa));
    auto loaded = std::make_unique<LoadedEncoder>(std::move(source), *table, threads);
    SLUICE_TRY(loaded->encoder, build_encoder(loaded->store, loaded->ops, use));
    return loaded;
  }

  ThreadPool pool;
  Ops ops;
  WeightStore store;
  std::unique_ptr<Encoder> encoder;
};

struct Golden {
  explicit Golden(const std::string& directory) : json(read_json(directory + "/golden.json")), texts(json.at("texts").get<std::vector<std::vector<TokenId>>>()) {
    if (json.contains("hidden")) hidden = read_floats(directory + "/golden.hidden.f32"), embeddings = read_floats(directory + "/golden.embeddings.f32");
    if (json.contains("scores")) scores = json.at("scores").get<std::vector<float>>();
  }
  nlohmann::json json;
  std::vector<std::vector<TokenId>> texts;
  std::vector<float> hidden, embeddings, scores;
};

std::vector<EncoderText> views(const std::vector<std::vector<TokenId>>& texts) {
  std::vector<EncoderText> out;
  for (const auto& text : texts) out.push_back({text});
  return out;
}

std::vector<float> encode(Encoder& encoder, const std::vector<std::vector<TokenId>>& texts) {
  std::vector<float> out(texts.size() * static_cast<size_t>(encoder.info().width));
  EXPECT_TRUE(encoder.encode(views(texts), out.data()).ok());
  return out;
}

std::vector<float> hidden_states(Encoder& encoder, const std::vector<std::vector<TokenId>>& texts) {
  size_t rows = 0;
  for (const auto& text : texts) rows += text.size();
  std::vector<float> out(rows * static_cast<size_t>(encoder.info().model.hidden));
  EXPECT_TRUE(encoder.hidden_states(views(texts), out.data()).ok());
  return out;
}

float sigmoid(float x) { return static_cast<float>(1 / (1 + std::exp(-static_cast<double>(x)))); }

class EncoderTest : public testing::TestWithParam<EncoderFile> {
 protected:
  std::shared_ptr<TensorSource> source() const {
    auto opened = open_tensor_source(GetParam().path);
    EXPECT_TRUE(opened.ok()) << (opened.ok() ? "" : opened.error().message);
    return opened.ok() ? std::move(opened).value() : nullptr;
  }
  // What the files say, and where those of a causal reranker cannot, what golden.json says.
  TextUse use(const TensorSource& source, const Golden& golden) const {
    const auto found = read_text_use(source);
    EXPECT_TRUE(found.ok()) << (found.ok() ? "" : found.error().message);
    if (found.ok() && *found) return **found;
    TextUse use;
    use.task = TextUse::Task::score;
    use.pooling = Pooling::last;
    EXPECT_TRUE(golden.json.contains("yes_id"));
    use.answers = YesNo{golden.json.value("yes_id", 0), golden.json.value("no_id", 0)};
    return use;
  }
  std::unique_ptr<LoadedEncoder> open(std::shared_ptr<TensorSource> from, const TextUse& use, const std::string& isa = {}, int threads = 1) const {
    auto loaded = LoadedEncoder::open(std::move(from), use, isa.empty() ? float32_isas().at(0) : isa, threads);
    EXPECT_TRUE(loaded.ok()) << (loaded.ok() ? "" : loaded.error().message);
    return loaded.ok() ? std::move(loaded).value() : nullptr;
  }
  std::unique_ptr<LoadedEncoder> open(const Golden& golden, const std::string& isa = {}, int threads = 1) const {
    const auto from = source();
    return from == nullptr ? nullptr : open(from, use(*from, golden), isa, threads);
  }
  double distance(Encoder& encoder, const Golden& golden) const {
    std::vector<float> results = encode(encoder, golden.texts);
    if (golden.scores.empty()) return std::max(max_abs_diff(hidden_states(encoder, golden.texts), golden.hidden), max_abs_diff(results, golden.embeddings));
    if (golden.json.contains("yes_id"))
      for (float& score : results) score = sigmoid(score);
    return max_abs_diff(results, golden.scores);
  }
  // A GGUF does not name the activation, and this model's is not the usual one.
  bool unnamed_activation() const { return GetParam().name == "bert_cls_gguf"; }
};

TEST(EncoderModels, AreThere) { EXPECT_GE(encoder_files().size(), 15u); }

TEST_P(EncoderTest, MatchesTheReference) {
  const Golden golden(GetParam().directory);
  for (const std::string& isa : float32_isas()) {
    const auto loaded = open(golden, isa);
    ASSERT_NE(loaded, nullptr);
    const TextUse& use = loaded->encoder->info().use;
    EXPECT_EQ(use.task == TextUse::Task::score, !golden.scores.empty());
    if (golden.scores.empty()) {
      EXPECT_EQ(golden.json.at("pooling"), use.pooling == Pooling::last ? "lasttoken" : pooling_name(use.pooling));
      EXPECT_TRUE(use.normalize);
      EXPECT_FALSE(use.assumed);
    }
    const double difference = distance(*loaded->encoder, golden);
    EXPECT_LE(difference, unnamed_activation() ? 5e-3 : kTolerance) << isa;
    if (!unnamed_activation()) RecordProperty("max_abs_diff_" + isa, std::to_string(difference));
  }
}

// BF16 weights meet activations rounded to bfloat16: as far as fidelity_test allows logits to stray.
TEST_P(EncoderTest, StaysNearWhereBf16RoundsActivations) {
  const Golden golden(GetParam().directory);
  for (const std::string& isa : usable_isas()) {
    const auto loaded = open(golden, isa);
    ASSERT_NE(loaded, nullptr);
    if (golden.scores.empty()) {
      EXPECT_LE(rms_diff(hidden_states(*loaded->encoder, golden.texts), golden.hidden), 0.04 * standard_deviation(golden.hidden)) << isa;
    } else {
      EXPECT_LE(distance(*loaded->encoder, golden), 0.05) << isa;
    }
  }
}

// A text's bits are its own: alone, among others in any order, after longer passes, on any number of threads.
TEST_P(EncoderTest, SameBitsInAnyBatch) {
  const Golden golden(GetParam().directory);
  for (const std::string& isa : usable_isas()) {
    const auto loaded = open(golden, isa);
    ASSERT_NE(loaded, nullptr);
    Encoder& encoder = *loaded->encoder;
    const auto width = static_cast<size_t>(encoder.info().width);
    // The recorded ones, their beginnings, and one of every token there is room for.
    std::vector<std::vector<TokenId>> texts = golden.texts;
    for (const size_t length : {size_t{1}, size_t{2}, size_t{15}, size_t{16}, size_t{17}})
      texts.emplace_back(golden.texts[0].begin(), golden.texts[0].begin() + static_cast<int64_t>(length));
    texts.emplace_back();
    for (int64_t i = 0; i < encoder.info().max_tokens; ++i) texts.back().push_back(static_cast<TokenId>(i * 7 % 83));
    std::vector<float> alone;
    for (const auto& text : texts) {
      const std::vector<float> one = encode(encoder, {text});
      alone.insert(alone.end(), one.begin(), one.end());
    }
    EXPECT_TRUE(same_bits(encode(encoder, texts), alone)) << isa << ", all at once";
    std::vector<std::vector<TokenId>> reversed(texts.rbegin(), texts.rend());
    const std::vector<float> turned = encode(encoder, reversed);
    for (size_t t = 0; t < texts.size(); ++t)
      EXPECT_TRUE(same_bits(std::span(turned).subspan((texts.size() - 1 - t) * width, width), std::span(alone).subspan(t * width, width)))
          << isa << ", reversed, text " << t;
    const auto threaded = open(golden, isa, 3);
    ASSERT_NE(threaded, nullptr);
    EXPECT_TRUE(same_bits(encode(*threaded->encoder, texts), alone)) << isa << ", three threads";
  }
}

// What a wrong implementation would compute, by giving the right one a wrong model.
TEST_P(EncoderTest, PlantedFaultsShow) {
  const Golden golden(GetParam().directory);
  const auto right = source();
  ASSERT_NE(right, nullptr);
  const Metadata& metadata = right->metadata();
  const std::string arch = metadata.architecture();
  std::map<std::string, std::function<void(MemorySource&)>> faults;
  faults["norm epsilon x10"] = [&](MemorySource& s) {
    for (const std::string& eps : {std::string("layer_norm_eps"), std::string("norm_eps"), std::string("rms_norm_eps"), arch + ".attention.layer_norm_epsilon",
                                   arch + ".attention.layer_norm_rms_epsilon"})
      if (metadata.has(eps)) s.metadata().set(eps, metadata.number_or(eps, 0) * 10);
  };
  for (const std::string& window : {std::string("local_attention"), arch + ".attention.sliding_window"})
    if (metadata.has(window) && metadata.integer_or(window, 0) > 0 && golden.json.dump().find("window + 2") != std::string::npos)
      faults["window + 2"] = [&metadata, window](MemorySource& s) { s.metadata().set(window, metadata.integer_or(window, 0) + 2); };
  if (metadata.has("pad_token_id") && arch.find("oberta") != std::string::npos)
    faults["positions from 1"] = [](MemorySource& s) { s.metadata().set("pad_token_id", int64_t{0}); };
  for (const auto& [name, plant] : faults) {
    const auto copy = decoded_source(*right);
    plant(*copy);
    const auto loaded = open(copy, use(*right, golden));
    ASSERT_NE(loaded, nullptr) << name;
    EXPECT_GT(distance(*loaded->encoder, golden), 10 * kTolerance) << name;
  }
}

// As the other kind of file it is the same model, for the same use.
TEST_P(EncoderTest, ConvertsToTheOtherKindOfFile) {
  const Golden golden(GetParam().directory);
  const auto from = source();
  ASSERT_NE(from, nullptr);
  const TempDir dir;
  std::shared_ptr<TensorSource> other;
  if (from->metadata().kind() == MetadataKind::gguf) {
    const auto plan = plan_to_huggingface(from, DType::f32);
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    ThreadPool pool(1);
    ASSERT_TRUE(write_huggingface(dir.file("back"), *plan, kDefaultShardBytes, pool).ok());
    auto opened = open_tensor_source(dir.file("back"));
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    other = *opened;
  } else {
    other = write_and_open(dir, "m.gguf", plan_huggingface(from, "x", vocabulary(10), recipe("f32")));
    ASSERT_NE(other, nullptr);
  }
  const TextUse was = use(*from, golden), is = use(*other, golden);
  EXPECT_EQ(is.task, was.task);
  EXPECT_EQ(is.pooling, was.pooling);
  EXPECT_EQ(is.normalize, was.normalize);
  const auto loaded = open(other, is), before = open(from, was);
  ASSERT_TRUE(loaded != nullptr && before != nullptr);
  EXPECT_EQ(loaded->encoder->info().max_tokens, before->encoder->info().max_tokens);
  EXPECT_EQ(loaded->encoder->info().token_types, before->encoder->info().token_types);
  EXPECT_EQ(loaded->encoder->info().pair_separators, before->encoder->info().pair_separators);
  EXPECT_LE(distance(*loaded->encoder, golden), unnamed_activation() ? 5e-3 : kTolerance);
}

// The committed twins were written by llama.cpp's converter: the same tensors, and all of its keys.
TEST_P(EncoderTest, EqualsAnIndependentConverter) {
  const auto twin = source();
  ASSERT_NE(twin, nullptr);
  if (twin->metadata().kind() != MetadataKind::gguf) return;
  const auto original = open_tensor_source(GetParam().directory);
  ASSERT_TRUE(original.ok()) << original.error().message;
  const std::string type = fs::path(GetParam().path).stem().extension().string().substr(1);  // model.f16.gguf
  const TempDir dir;
  const auto ours = write_and_open(dir, "m.gguf", plan_huggingface(*original, "x", vocabulary(10), recipe(type)));
  ASSERT_NE(ours, nullptr);
  EXPECT_EQ(ours->tensors().size(), twin->tensors().size());
  for (const TensorInfo& info : twin->tensors()) {
    const TensorInfo* own = ours->find(info.name);
    ASSERT_NE(own, nullptr) << info.name;
    ASSERT_TRUE(own->dtype == info.dtype && own->shape == info.shape) << info.name;
    EXPECT_EQ(std::memcmp(ours->view(*own).data, twin->view(info).data, info.size_bytes), 0) << info.name;
  }
  const std::string arch = twin->metadata().architecture();
  for (const auto& [key, value] : twin->metadata().values()) {
    if (!key.starts_with(arch + ".") && key != "tokenizer.ggml.token_type_count") continue;
    if (key == "modern-bert.rope.scaling.type") continue;  // "none"
    ASSERT_TRUE(ours->metadata().has(key)) << key;
    EXPECT_EQ(ours->metadata().values().at(key), value) << key;
  }
}

// One token type makes no RoBERTa of a BERT whose vocabulary is WordPiece: a pair has one separator, and the directory is a BERT's.
TEST(EncoderUse, ABertOfOneTokenTypeStaysOne) {
  const auto original = open_tensor_source(SLUICE_SOURCE_DIR "/tests/data/families/bert");
  ASSERT_TRUE(original.ok()) << original.error().message;
  const auto copy = decoded_source(**original);
  const std::string types = copy->find("bert.embeddings.token_type_embeddings.weight") != nullptr ? "bert.embeddings.token_type_embeddings.weight"
                                                                                                  : "embeddings.token_type_embeddings.weight";
  copy->remove(types);
  copy->add(types, {1, 36}, std::vector<float>(36, 0.5f));
  copy->metadata().set("type_vocab_size", int64_t{1});
  for (const char* model : {"bert", "t5"}) {
    GgufVocab vocab = vocabulary(10);
    vocab.model = model;
    vocab.unk = 0;
    const TempDir dir;
    const auto gguf = write_and_open(dir, "m.gguf", plan_huggingface(copy, "x", vocab, recipe("f32")));
    ASSERT_NE(gguf, nullptr);
    const auto info = plan_encoder(*gguf, TextUse{});
    ASSERT_TRUE(info.ok()) << info.error().message;
    EXPECT_EQ(info->pair_separators, std::string(model) == "bert" ? 1 : 2);
    const auto back = plan_to_huggingface(gguf, DType::f32);
    ASSERT_TRUE(back.ok()) << back.error().message;
    EXPECT_NE(back->files.at("config.json").find(std::string(model) == "bert" ? "\"BertModel\"" : "\"XLMRobertaModel\""), std::string::npos);
  }
}

TEST(EncoderUse, AKeyOfAnotherTypeIsNamed) {
  const auto twin = open_tensor_source(SLUICE_SOURCE_DIR "/tests/data/families/bert/model.f16.gguf");
  ASSERT_TRUE(twin.ok()) << twin.error().message;
  const std::pair<const char*, MetadataValue> wrong[] = {
      {"bert.pooling_type", std::string("mean")}, {"sluice.embeddings.normalize", std::string("no")}, {"sluice.embeddings.max_tokens", std::string("9")}};
  for (const auto& [key, value] : wrong) {
    const auto copy = copy_source(**twin);
    copy->metadata().set(key, value);
    const auto use = read_text_use(*copy);
    ASSERT_FALSE(use.ok()) << key;
    EXPECT_NE(use.error().message.find(key), std::string::npos) << use.error().message;
  }
}

// What GGUF has no key for has one of ours: vectors that are not normalized, and a limit below the positions.
TEST(EncoderUse, ComesThroughAGguf) {
  const TempDir from_dir;
  const std::string folder = from_dir.file("bert"), path = SLUICE_SOURCE_DIR "/tests/data/families/bert/";
  fs::create_directories(folder + "/1_Pooling");
  for (const char* file : {"config.json", "model.safetensors", "1_Pooling/config.json"}) fs::copy(path + file, folder + "/" + file);
  std::ofstream(folder + "/modules.json") << R"([{"type": "x.Transformer"}, {"type": "x.Pooling", "path": "1_Pooling"}])";
  std::ofstream(folder + "/sentence_bert_config.json") << R"({"max_seq_length": 31})";
  const auto source = open_tensor_source(folder);
  ASSERT_TRUE(source.ok()) << source.error().message;
  const TempDir dir;
  const auto gguf = write_and_open(dir, "m.gguf", plan_huggingface(*source, "x", vocabulary(10), recipe("f32")));
  ASSERT_NE(gguf, nullptr);
  const auto plan = plan_to_huggingface(gguf, DType::f32);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  ThreadPool pool(1);
  ASSERT_TRUE(write_huggingface(dir.file("back"), *plan, kDefaultShardBytes, pool).ok());
  const auto back = open_tensor_source(dir.file("back"));
  ASSERT_TRUE(back.ok()) << back.error().message;
  for (const auto& from : {gguf, *back}) {
    const auto use = read_text_use(*from);
    ASSERT_TRUE(use.ok() && use->has_value()) << from->metadata().origin();
    EXPECT_EQ((*use)->pooling, Pooling::mean);
    EXPECT_FALSE((*use)->normalize);
    EXPECT_EQ((*use)->max_tokens, 31);
    EXPECT_FALSE((*use)->assumed);
  }
}

// A GGUF with the answers of Qwen3-Reranker as classes: the same scores, and, without the classes, the directory that it was made of.
TEST(EncoderUse, ClassesThatAreRowsOfTheHeadGoBackToIt) {
  const std::string path = SLUICE_SOURCE_DIR "/tests/data/families/qwen3_reranker";
  const Golden golden(path);
  const auto original = open_tensor_source(path);
  ASSERT_TRUE(original.ok()) << original.error().message;
  GgufVocab vocab = vocabulary(60);
  vocab.tokens[golden.json.value("yes_id", 0)] = "yes", vocab.tokens[golden.json.value("no_id", 0)] = "no";
  const TempDir dir;
  const auto plain = write_and_open(dir, "m.gguf", plan_huggingface(*original, "x", vocab, recipe("f32")));
  ASSERT_NE(plain, nullptr);
  const std::vector<float> embedding = decoded(*plain, "token_embd.weight");
  const int64_t width = plain->find("token_embd.weight")->shape[1];
  const auto with_classes = [&](float off) {
    const auto gguf = copy_source(*plain);
    std::vector<float> classes;
    for (const char* id : {"yes_id", "no_id"}) {
      const auto row = embedding.begin() + golden.json.value(id, 0) * width;
      classes.insert(classes.end(), row, row + width);
    }
    classes[5] += off;
    gguf->add("cls.output.weight", {2, width}, classes);
    gguf->metadata().set("qwen3.pooling_type", int64_t{4});
    gguf->metadata().set("qwen3.classifier.output_labels", std::vector<std::string>{"yes", "no"});
    return gguf;
  };
  const auto gguf = with_classes(0);
  const auto use = read_text_use(*gguf);
  ASSERT_TRUE(use.ok() && *use && (*use)->task == TextUse::Task::score);
  const auto loaded = LoadedEncoder::open(gguf, **use, float32_isas().at(0), 1);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  const std::vector<float> scores = encode(*(*loaded)->encoder, golden.texts);
  for (size_t t = 0; t < scores.size(); ++t) EXPECT_NEAR(sigmoid(scores[t]), golden.scores[t], kTolerance);
  const auto back = plan_to_huggingface(gguf, DType::f32);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_NE(back->files.at("config.json").find("Qwen3ForCausalLM"), std::string::npos);
  EXPECT_EQ(back->tensors.size(), (*original)->tensors().size());
  const auto other = plan_to_huggingface(with_classes(0.01f), DType::f32);
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.error().message.find("unless its classes are the rows of its head"), std::string::npos) << other.error().message;
}

// Whatever a key holds, or if it is gone, the model is refused with an error that names the file, or it loads and computes.
TEST_P(EncoderTest, DamagedConfigurationsAreRefusedByNameOrCompute) {
  const Golden golden(GetParam().directory);
  const auto right = source();
  ASSERT_NE(right, nullptr);
  const TextUse as_it_is = use(*right, golden);
  const auto copy = copy_source(*right);
  const Metadata whole = copy->metadata();
  Rng rng(7);
  int built = 0, refused = 0;
  for (const auto& [key, value] : whole.values()) {
    if (key.starts_with("tokenizer.") || key.starts_with("general.") || key == "architectures") continue;
    const MetadataValue wrong[] = {int64_t{0}, int64_t{-5}, static_cast<int64_t>(rng.next_u64()), rng.between(1, 300), 1e300, std::nan(""), std::string("\xff x"),
                                   std::vector<int64_t>{1, 2}, std::vector<std::string>{"a"}, true};
    for (size_t which = 0; which <= std::size(wrong); which += 1 + rng.below(3)) {
      Metadata damaged(whole.kind(), whole.origin());
      for (const auto& [k, v] : whole.values())
        if (k != key) damaged.set(k, v);
      if (which < std::size(wrong)) damaged.set(key, wrong[which]);
      copy->metadata() = damaged;
      const auto found = read_text_use(*copy);
      const auto loaded = LoadedEncoder::open(copy, found.ok() && *found ? **found : as_it_is, float32_isas().at(0), 1);
      if (!found.ok() || !loaded.ok()) {
        ++refused;
        const std::string message = (found.ok() ? loaded.error() : found.error()).message;
        EXPECT_NE(message.find(whole.origin()), std::string::npos) << key << ": " << message;
        continue;
      }
      ++built;
      const size_t length = std::min<size_t>(5, static_cast<size_t>((*loaded)->encoder->info().max_tokens));
      encode(*(*loaded)->encoder, {{golden.texts[0].begin(), golden.texts[0].begin() + static_cast<int64_t>(length)}});
    }
  }
  EXPECT_GT(built, 0);
  EXPECT_GT(refused, 10);
}

INSTANTIATE_TEST_SUITE_P(Models, EncoderTest, testing::ValuesIn(encoder_files()), [](const auto& info) { return info.param.name; });

// The second text of a pair is of the second type where the model has two.
TEST(EncoderPairs, TokenTypesMoveTheResult) {
  const std::string path = SLUICE_SOURCE_DIR "/tests/data/families/bert";
  const Golden golden(path);
  auto source = open_tensor_source(path);
  ASSERT_TRUE(source.ok());
  auto loaded = LoadedEncoder::open(*source, **read_text_use(**source), float32_isas().at(0), 1);
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ((*loaded)->encoder->info().token_types, 2);
  const EncoderText one{golden.texts[0]}, pair{golden.texts[0], 10}, never{golden.texts[0], 23};
  std::vector<float> a(36), b(36), c(36);
  ASSERT_TRUE((*loaded)->encoder->encode({&one, 1}, a.data()).ok());
  ASSERT_TRUE((*loaded)->encoder->encode({&pair, 1}, b.data()).ok());
  ASSERT_TRUE((*loaded)->encoder->encode({&never, 1}, c.data()).ok());
  EXPECT_GT(max_abs_diff(a, b), 0.01);
  EXPECT_TRUE(same_bits(a, c));
}

TEST(EncoderUse, IsReadFromItsFilesAndRefusedWhereItIsNotBuilt) {
  const std::string folder = testing::TempDir() + "/encoder_use";
  fs::remove_all(folder);
  fs::create_directories(folder + "/1_Pooling");
  const std::string from = SLUICE_SOURCE_DIR "/tests/data/families/bert/";
  for (const char* file : {"config.json", "model.safetensors", "modules.json", "1_Pooling/config.json"}) fs::copy(from + file, folder + "/" + file);
  const auto write = [&](const std::string& file, const std::string& text) { std::ofstream(folder + "/" + file) << text; };
  const auto error = [&] {
    const auto source = open_tensor_source(folder);
    EXPECT_TRUE(source.ok());
    const auto use = read_text_use(**source);
    return use.ok() ? std::string("none") : use.error().message;
  };
  EXPECT_EQ(error(), "none");
  write("1_Pooling/config.json", R"({"pooling_mode_max_tokens": true})");
  EXPECT_NE(error().find("pooling_mode_max_tokens"), std::string::npos);
  write("1_Pooling/config.json", R"({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true})");
  EXPECT_NE(error().find("one of pooling_mode_cls_token"), std::string::npos);
  write("1_Pooling/config.json", R"({"pooling_mode_cls_token": false})");
  EXPECT_NE(error().find("no pooling_mode"), std::string::npos);
  write("modules.json", R"([{"type": "sentence_transformers.models.Transformer"}, {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}])");
  EXPECT_NE(error().find("Dense"), std::string::npos);
  write("modules.json", "[");
  EXPECT_NE(error(), "none");
  fs::remove(folder + "/modules.json");
  const auto source = open_tensor_source(folder);
  ASSERT_TRUE(source.ok());
  const auto use = read_text_use(**source);
  ASSERT_TRUE(use.ok() && use->has_value());
  EXPECT_TRUE((*use)->assumed);
  EXPECT_EQ((*use)->pooling, Pooling::mean);
}

TEST(EncoderUse, TextIsNotAskedOfEncoders) {
  auto source = open_tensor_source(SLUICE_SOURCE_DIR "/tests/data/families/modernbert");
  ASSERT_TRUE(source.ok());
  const auto plan = plan_model(**source);
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.error().message.find("/v1/embeddings"), std::string::npos);
}

}  // namespace
}  // namespace sluice::test
