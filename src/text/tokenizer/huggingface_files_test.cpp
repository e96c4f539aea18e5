// A GGUF vocabulary, written as a Hugging Face directory and read again, is the same tokenizer.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/pre_tokenizers/pre_patterns.h"
#include "text/tokenizer/test_files.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

const std::vector<std::string> kTexts = {
    "",
    " ",
    "  two  spaces\n\n\n and lines\r\n\ttabs ",
    "Hello, world! It's 12345.67 o'clock, we'LL see.",
    "naïve café — 東京タワー 한국어 Привет \U0001F680\U0001F3FD e\u0301 ½",
    "<s>a</s> <|end|>user<|im_start|> <tool_call> x<|end|>",
    "for (int i=0; i<100000; ++i) { x[i] += 3.14e-10; } // ÄÖÜß",
    "\xff\xfe broken",
};

std::unique_ptr<Tokenizer> written_and_read(const GgufVocab& vocab) {
  const auto files = write_huggingface_tokenizer(vocab);
  EXPECT_TRUE(files.ok()) << files.error().message;
  if (!files.ok()) return nullptr;
  const test::ModelDirectory directory;
  for (const auto& [name, text] : *files) directory.write(name, text);
  auto tokenizer = load_tokenizer_directory(directory.path());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  return tokenizer.ok() ? std::move(tokenizer).value() : nullptr;
}

/// `spaced`: special tokens get a space before them in a decoded text, as WordPiece's decoder has it; in a GGUF they are what they are.
void expect_the_same(const GgufVocab& vocab, bool spaced = false) {
  const auto made = make_gguf_tokenizer(vocab);
  ASSERT_TRUE(made.ok()) << made.error().message;
  const Tokenizer& want = **made;
  const auto got = written_and_read(vocab);
  ASSERT_NE(got, nullptr);
  for (const std::string& text : kTexts)
    for (const bool special : {false, true})
      for (const bool parse : {false, true}) {
        const auto ids = want.encode(text, {special, parse});
        EXPECT_EQ(got->encode(text, {special, parse}), ids) << text;
        for (const bool skip : {spaced, true}) EXPECT_EQ(got->decode(ids, {.skip_special = skip}), want.decode(ids, {.skip_special = skip})) << text;
      }
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const auto token = static_cast<TokenId>(id);
    if (!vocab.tokens[id].starts_with("[PAD") && !(spaced && want.is_special(token))) {
      EXPECT_EQ(got->token_bytes(token), want.token_bytes(token)) << id;
    }
    EXPECT_EQ(got->is_special(token), want.is_special(token)) << id;
  }
  EXPECT_EQ(got->bos(), want.bos());
  const auto eos = want.eos() || !spaced ? want.eos() : vocab.sep;  // a directory's separator ends texts
  EXPECT_EQ(got->eos(), eos);
  EXPECT_EQ(got->pad(), want.pad());
  if (eos == want.eos()) {
    EXPECT_EQ(got->end_of_generation(), want.end_of_generation());
  }
  EXPECT_EQ(got->chat_templates(), want.chat_templates());
}

TokenId put(GgufVocab& vocab, std::string text, GgufTokenType type) {
  vocab.tokens.push_back(std::move(text));
  vocab.token_types.push_back(static_cast<int32_t>(type));
  return static_cast<TokenId>(vocab.tokens.size() - 1);
}

/// All bytes, merges of some of them, control tokens and others that are found as they stand, and filling.
GgufVocab byte_level(const std::string& pre) {
  GgufVocab v;
  v.model = "gpt2", v.pre = pre;
  const auto add = [&](std::string text, GgufTokenType type) { return put(v, std::move(text), type); };
  for (int b = 0; b < 256; ++b) add(bytes_to_byte_level(std::string(1, static_cast<char>(b))), GgufTokenType::normal);
  for (const auto& [left, right] : std::vector<std::pair<std::string, std::string>>{
           {"l", "l"}, {"o", " "}, {" ", "w"}, {"H", "e"}, {"He", "ll"}, {"Hell", "o"}, {"1", "2"}, {"12", "3"}, {"'", "s"}, {"\n", "\n"}}) {
    v.merges.push_back(bytes_to_byte_level(left) + " " + bytes_to_byte_level(right));
    add(bytes_to_byte_level(left + right), GgufTokenType::normal);
  }
  add("[PAD266]", GgufTokenType::unused);
  v.bos = add("<s>", GgufTokenType::control);
  v.eos = add("</s>", GgufTokenType::control);
  v.eot = add("<|end|>", GgufTokenType::control);
  v.sep = v.eot;  // behind texts of RoBERTa's kind
  v.pad = add("<|im_start|>", GgufTokenType::control);
  add("<tool_call>", GgufTokenType::user_defined);
  add("clock", GgufTokenType::user_defined);
  add("[PAD273]", GgufTokenType::unused);
  return v;
}

TEST(HuggingfaceFiles, ByteLevelVocabulariesOfEveryPreTokenizer) {
  for (const std::string_view name : pre_pattern_names()) {
    const auto patterns = find_pre_patterns(name);
    if (patterns->spelling != PieceSpelling::bytes || !patterns->gguf_name.empty()) continue;  // no form; no name of GGUF's
    const std::string pre(name);
    SCOPED_TRACE(pre);
    GgufVocab vocab = byte_level(pre);
    expect_the_same(vocab);
    vocab.add_bos = vocab.add_eos = true;
    vocab.chat_templates = {{"default", "{{ messages }}"}, {"tool_use", "{{ 'ä' }}"}};
    expect_the_same(vocab);
  }
}

/// Tokens and merges may spell anything, JSON and the like included.
TEST(HuggingfaceFiles, NoTextOfAVocabularyChangesTheFileAroundIt) {
  for (const std::string text : {"@vocab@", "\"merges\":null", "\"}],{", "\\\"", "null"}) {
    SCOPED_TRACE(text);
    GgufVocab vocab = byte_level("gpt-4o");
    const auto make = [&](const std::string& left, const std::string& right) {
      vocab.merges.push_back(bytes_to_byte_level(left) + " " + bytes_to_byte_level(right));
      vocab.tokens.push_back(bytes_to_byte_level(left + right));
      vocab.token_types.push_back(static_cast<int32_t>(GgufTokenType::normal));
    };
    for (size_t n = 1; n < text.size(); ++n) make(text.substr(0, n), text.substr(n, 1));
    make(text, text);
    expect_the_same(vocab);
    const auto read = written_and_read(vocab);
    ASSERT_NE(read, nullptr);
    for (size_t id = 274; id < vocab.tokens.size(); ++id) EXPECT_EQ(read->token_id(std::string(read->token_bytes(static_cast<TokenId>(id)))), id);
  }
}

TEST(HuggingfaceFiles, SentencepieceVocabularies) {
  auto vocab = read_sentencepiece_vocab(std::string(SLUICE_SOURCE_DIR) + "/tests/data/tokenizers/tok512/tokenizer.model");
  ASSERT_TRUE(vocab.ok()) << vocab.error().message;
  expect_the_same(*vocab);
  for (const bool prefix : {false, true}) {
    GgufVocab other = *vocab;
    other.add_space_prefix = prefix;
    other.remove_extra_whitespaces = std::nullopt;
    other.add_bos = prefix, other.add_eos = !prefix;
    other.tokens[300] = "<|end|>", other.token_types[300] = static_cast<int32_t>(GgufTokenType::control);
    other.tokens[301] = "o'clock", other.token_types[301] = static_cast<int32_t>(GgufTokenType::user_defined);
    other.chat_templates = {{"default", "{{ bos_token }}"}};
    other.pad = 300, other.eot = 300;
    expect_the_same(other);
  }
}

GgufVocab word_piece() {
  GgufVocab v;
  v.model = "bert";
  const auto add = [&](std::string text, GgufTokenType type = GgufTokenType::normal) { return put(v, std::move(text), type); };
  v.pad = add("[PAD]", GgufTokenType::control);
  add("[unused1]");
  v.unk = add("[UNK]", GgufTokenType::control);
  v.cls = add("[CLS]", GgufTokenType::control);
  v.sep = add("[SEP]", GgufTokenType::control);
  v.mask = add("[MASK]", GgufTokenType::control);
  for (const char* begins : {"hello", "w", "Hello", "naive", "café", "東", "京", "it", "s", "'", ",", "!", ".", "12345", "\u2581", "<", ">", "e\u0301", "\"}],{"})
    add("\u2581" + std::string(begins));
  for (const char* goes_on : {"orld", "s", "o", "1", "##x", "lock", "\u2581"}) add(goes_on);
  add("[PAD32]", GgufTokenType::unused);
  return v;
}

TEST(HuggingfaceFiles, WordPieceVocabularies) {
  GgufVocab vocab = word_piece();
  expect_the_same(vocab, true);
  for (const bool lowercase : {false, true})
    for (const bool strip : {false, true}) {
      vocab.lowercase = lowercase, vocab.strip_accents = strip;
      expect_the_same(vocab, true);
    }
  vocab.bos = vocab.cls, vocab.eos = vocab.sep;  // llama.cpp's files name them so too
  vocab.add_sep = false;
  expect_the_same(vocab, true);
  vocab.tokens[10] = vocab.tokens[11];
  const auto files = write_huggingface_tokenizer(vocab);
  ASSERT_FALSE(files.ok());
  EXPECT_NE(files.error().message.find("is two"), std::string::npos) << files.error().message;
}

/// XLM-R's: Unigram over characters that a map of none changes.
GgufVocab unigram() {
  GgufVocab v;
  v.model = "t5";
  const auto add = [&](std::string text, float score, GgufTokenType type = GgufTokenType::normal) {
    v.scores.push_back(score);
    return put(v, std::move(text), type);
  };
  v.bos = add("<s>", 0, GgufTokenType::control);
  v.pad = add("<pad>", 0, GgufTokenType::control);
  v.eos = add("</s>", 0, GgufTokenType::control);
  v.unk = add("<unk>", -20, GgufTokenType::unknown);
  float score = -2.0f;
  for (const char* piece : {"\u2581", "\u2581Hello", "Hell", "o", "\u2581w", "world", "l", "d", ",", "!", "'", "s", "it", "1", "2", "12345", "é", "東京", "\u2581\u2581", "\"]],["})
    add(piece, score -= 0.37f);
  v.mask = add("<mask>", 0, GgufTokenType::control);
  return v;
}

TEST(HuggingfaceFiles, UnigramVocabularies) {
  GgufVocab vocab = unigram();
  for (const bool prefix : {false, true})
    for (const bool squeeze : {false, true}) {
      vocab.add_space_prefix = prefix, vocab.remove_extra_whitespaces = squeeze;
      vocab.add_bos = vocab.add_eos = prefix == squeeze;
      expect_the_same(vocab);
    }
  for (int b = 0; b < 256; ++b) {
    vocab.tokens.push_back(fmt::format("<0x{:02X}>", b));
    vocab.scores.push_back(-9);
    vocab.token_types.push_back(static_cast<int32_t>(GgufTokenType::byte));
  }
  expect_the_same(vocab);
  vocab.tokens.push_back(fmt::format("[PAD{}]", vocab.tokens.size()));
  vocab.scores.push_back(0);
  vocab.token_types.push_back(static_cast<int32_t>(GgufTokenType::unused));
  expect_the_same(vocab);
  vocab.token_types[10] = static_cast<int32_t>(GgufTokenType::unused);
  const auto files = write_huggingface_tokenizer(vocab);
  ASSERT_FALSE(files.ok());
  EXPECT_NE(files.error().message.find("is unused"), std::string::npos) << files.error().message;
}

/// All bytes as RWKV World has them, and some texts.
GgufVocab longest_match() {
  GgufVocab v;
  v.model = "rwkv";
  const auto add = [&](std::string text, GgufTokenType type = GgufTokenType::normal) { put(v, std::move(text), type); };
  add("<s>", GgufTokenType::control);
  for (int b = 0; b < 256; ++b) add(fmt::format("\\x{:02x}", b));
  for (const char* text : {"Hello", " world", "\\n\\n", "it's", "\"", "'\"", "\\'\"", "a\\\\b", "\\xc3\\xa9", "\\xc2\\xa0", "\\xe2\\x80\\x8b", "\\xe6\\x9d\\xb1",
                           "\\xf0\\x9f\\x9a\\x80", "\\xf3\\xa0\\x80\\x81", "\\xe6\\x9d", "\\xff'", "\\xff'\"\\t", " ", "  "})
    add(text);
  add(fmt::format("[PAD{}]", v.tokens.size()), GgufTokenType::unused);
  add("12345");
  for (int i = 0; i < 2; ++i) add(fmt::format("[PAD{}]", v.tokens.size()), GgufTokenType::unused);
  v.eos = 0;
  return v;
}

TEST(HuggingfaceFiles, RwkvVocabularies) {
  GgufVocab vocab = longest_match();
  expect_the_same(vocab);
  vocab.bos = 0, vocab.eot = 259;  // as llama.cpp's converter has them
  vocab.chat_templates = {{"default", "{{ messages }}"}};
  expect_the_same(vocab);
  const std::string file = write_huggingface_tokenizer(vocab)->at("rwkv_vocab_v20230424.txt");
  // Python's literals.
  const std::string begin = "1 '\\x00' 1\n2 '\\x01' 1\n";
  EXPECT_EQ(file.substr(0, begin.size()), begin);
  EXPECT_EQ(file.substr(file.find("\n257 ") + 1), R"(257 'Hello' 5
258 ' world' 6
259 '\n\n' 2
260 "it's" 4
261 '"' 1
262 '\'"' 2
263 '\'"' 2
264 'a\\b' 3
265 'é' 2
266 '\xa0' 2
267 '\u200b' 3
268 '東' 3
269 '🚀' 4
270 '\U000e0001' 4
271 b'\xe6\x9d' 2
272 b"\xff'" 2
273 b'\xff\'"\t' 4
274 ' ' 1
275 '  ' 2
277 '12345' 5
)");
}

/// The file has neither types nor a token 0.
TEST(HuggingfaceFiles, WhatAnRwkvVocabularyHasNoWordForIsRefused) {
  const auto error_of = [](const auto& edit) {
    GgufVocab vocab = longest_match();
    edit(vocab);
    const auto files = write_huggingface_tokenizer(vocab);
    return files.ok() ? "" : files.error().message;
  };
  EXPECT_NE(error_of([](auto& v) { v.tokens[0] = "<|end|>"; }).find("token 0 is '<|end|>' of type 3, not the control token '<s>'"), std::string::npos);
  EXPECT_NE(error_of([](auto& v) { v.token_types.clear(); }).find("token 0 is '<s>' of type 1"), std::string::npos);
  EXPECT_NE(error_of([](auto& v) { v.eos = 259; }).find("token 259 ends texts"), std::string::npos);
  EXPECT_NE(error_of([](auto& v) { v.eos.reset(); }).find("no token ends texts"), std::string::npos);
  EXPECT_NE(error_of([](auto& v) { v.pad = 3; }).find("the pad token is 3"), std::string::npos);
  EXPECT_NE(error_of([](auto& v) { v.token_types[257] = static_cast<int32_t>(GgufTokenType::user_defined); }).find("token 257, 'Hello', is of type 4"), std::string::npos);
}

/// As llama.cpp's converter writes RoBERTa's and BERT's: one token ends a text, whatever of EOS and SEP is said.
TEST(HuggingfaceFiles, TextsHaveOneEnd) {
  const auto end_of = [](const GgufVocab& vocab) {
    const auto ids = (*make_gguf_tokenizer(vocab))->encode("Hello"), plain = (*make_gguf_tokenizer(vocab))->encode("Hello", {.add_special = false});
    EXPECT_EQ(ids.size(), plain.size() + 2);
    return ids.back();
  };
  GgufVocab roberta = byte_level("roberta-bpe");
  roberta.sep = roberta.eos;
  roberta.add_bos = roberta.add_eos = true;
  for (const std::optional<bool> said : {std::optional<bool>(), std::optional(true), std::optional(false)}) {
    roberta.add_sep = said;
    EXPECT_EQ(end_of(roberta), *roberta.eos);
  }
  GgufVocab bert = word_piece();
  EXPECT_EQ(end_of(bert), *bert.sep);
  bert.eos = bert.sep;
  for (const auto& [eos, sep] : {std::pair{true, false}, {false, true}, {true, true}}) {
    bert.add_eos = eos, bert.add_sep = sep;
    EXPECT_EQ(end_of(bert), *bert.sep);
  }
}

/// A pair as BERT and RoBERTa read it, by the tokenizer.json's own word.
TEST(HuggingfaceFiles, PairsAreReadAsTheirModelsReadThem) {
  const auto pair_of = [](const GgufVocab& vocab) {
    const auto files = write_huggingface_tokenizer(vocab);
    EXPECT_TRUE(files.ok()) << files.error().message;
    const auto document = nlohmann::json::parse(files->at("tokenizer.json"));
    std::string out;
    for (const auto& part : document.at("post_processor").at("pair"))
      for (const auto& [kind, what] : part.items()) out += fmt::format("{}{}{} ", kind == "Sequence" ? "$" : "", what.at("id").get<std::string>(), what.at("type_id").get<int>());
    return out;
  };
  EXPECT_EQ(pair_of(word_piece()), "[CLS]0 $A0 [SEP]0 $B1 [SEP]1 ");
  GgufVocab vocab = unigram();
  vocab.add_bos = true, vocab.add_sep = true, vocab.sep = vocab.eos;
  EXPECT_EQ(pair_of(vocab), "<s>0 $A0 </s>0 </s>0 $B0 </s>0 ");
  vocab.add_sep = false;  // ModernBERT
  EXPECT_EQ(pair_of(vocab), "<s>0 $A0 </s>0 $B0 </s>0 ");
  vocab.add_bos = false;
  EXPECT_EQ(pair_of(vocab), "$A0 </s>0 $B1 </s>1 ");
}

/// The files that `vocab` is written as, with a change of its tokenizer.json.
struct ChangedDirectory {
  template <class Change>
  ChangedDirectory(const GgufVocab& vocab, const Change& change) {
    auto files = write_huggingface_tokenizer(vocab);
    EXPECT_TRUE(files.ok()) << files.error().message;
    auto document = nlohmann::json::parse(files->at("tokenizer.json"));
    change(document);
    (*files)["tokenizer.json"] = document.dump();
    for (const auto& [name, text] : *files) directory.write(name, text);
  }
  std::string error() const {
    EXPECT_TRUE(load_tokenizer_directory(directory.path()).ok());
    const auto vocab = read_huggingface_vocab(directory.path());
    return vocab.ok() ? "" : vocab.error().message;
  }
  test::ModelDirectory directory;
};

TEST(HuggingfaceFiles, WhatAGgufCannotSayOfATokenizerIsRefused) {
  using nlohmann::json;
  const GgufVocab bert = word_piece(), xlm = unigram();
  EXPECT_EQ(ChangedDirectory(bert, [](json&) {}).error(), "");
  EXPECT_EQ(ChangedDirectory(xlm, [](json&) {}).error(), "");
  const auto expect = [](const std::string& error, const char* what) { EXPECT_NE(error.find(what), std::string::npos) << error; };
  expect(ChangedDirectory(bert, [](json& j) { j["model"]["max_input_chars_per_word"] = 50; }).error(), "max_input_chars_per_word is 50");
  expect(ChangedDirectory(bert, [](json& j) { j["normalizer"]["handle_chinese_chars"] = false; }).error(), "handle_chinese_chars is false");
  expect(ChangedDirectory(bert, [](json& j) { j["normalizer"]["clean_text"] = false; }).error(), "clean_text is false");
  expect(ChangedDirectory(bert, [](json& j) { j["normalizer"] = {{"type", "Sequence"}, {"normalizers", {j["normalizer"], {{"type", "NFKC"}}}}}; }).error(), "'NFKC'");
  expect(ChangedDirectory(xlm, [](json& j) { j["normalizer"] = {{"type", "NFKC"}}; }).error(), "the normalizer has a part of type 'NFKC'");
  testing::internal::CaptureStderr();
  EXPECT_EQ(ChangedDirectory(xlm, [](json& j) { j["added_tokens"].back()["lstrip"] = true; }).error(), "");
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("'<mask>'"), std::string::npos) << log;
}

/// With nothing around texts, with BERT's own processor and with RoBERTa's: the same in the GGUF form.
TEST(HuggingfaceFiles, WhatStandsAroundTextsComesThroughAGguf) {
  using nlohmann::json;
  const std::pair<const char*, json> processors[] = {{"none", nullptr},
                                                     {"BERT", {{"type", "BertProcessing"}, {"sep", {"[SEP]", 4}}, {"cls", {"[CLS]", 3}}}}};
  for (const auto& [name, processor] : processors) {
    SCOPED_TRACE(name);
    const ChangedDirectory changed(word_piece(), [&](json& j) { j["post_processor"] = processor; });
    const auto own = load_tokenizer_directory(changed.directory.path());
    const auto vocab = read_huggingface_vocab(changed.directory.path());
    ASSERT_TRUE(own.ok() && vocab.ok());
    const auto gguf = make_gguf_tokenizer(*vocab);
    ASSERT_TRUE(gguf.ok()) << gguf.error().message;
    EXPECT_EQ((*gguf)->encode("hello"), (*own)->encode("hello"));
    EXPECT_EQ((*own)->pair_form().said, !processor.is_null());
    if (processor.is_null()) continue;
    EXPECT_EQ((*own)->pair_form().between, (std::vector<TokenId>{4}));
    EXPECT_EQ((*own)->pair_form().second_type, 1);
    EXPECT_EQ((*gguf)->pair_form().between, (*own)->pair_form().between);
    EXPECT_EQ((*gguf)->pair_form().second_type, 1);
    // As llama.cpp's converter says it, whose reranker puts EOS behind both texts.
    EXPECT_EQ(vocab->eos, vocab->sep);
    EXPECT_TRUE(*vocab->add_eos && !*vocab->add_sep);
  }
  // A template that puts the second text first is no pair with something between.
  GgufVocab turned = unigram();
  turned.add_bos = true;
  const ChangedDirectory odd(turned, [](json& j) {
    for (json& part : j["post_processor"]["pair"])
      if (part.contains("Sequence")) part["Sequence"]["id"] = part["Sequence"]["id"] == "A" ? "B" : "A";
  });
  const auto tokenizer = load_tokenizer_directory(odd.directory.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_FALSE((*tokenizer)->pair_form().said);
  for (const bool twice : {false, true}) {
    GgufVocab xlm = unigram();
    xlm.add_bos = true, xlm.sep = xlm.eos, xlm.add_sep = twice;
    const ChangedDirectory changed(xlm, [](json&) {});
    const auto own = load_tokenizer_directory(changed.directory.path());
    const auto vocab = read_huggingface_vocab(changed.directory.path());
    ASSERT_TRUE(own.ok() && vocab.ok());
    EXPECT_EQ((*own)->pair_form().between, (std::vector<TokenId>(twice ? 2 : 1, *xlm.eos)));
    EXPECT_EQ((*own)->pair_form().second_type, 0);
    EXPECT_EQ(vocab->add_sep, twice);
    const auto gguf = make_gguf_tokenizer(*vocab);
    ASSERT_TRUE(gguf.ok()) << gguf.error().message;
    EXPECT_EQ((*gguf)->pair_form().between, (*own)->pair_form().between);
  }
}

/// llama.cpp's converter moves XLM-R's pieces by one, and the names of what fills up with them; it may leave the unknown token unnamed.
TEST(HuggingfaceFiles, FillingHasAnyNumber) {
  GgufVocab vocab = unigram();
  vocab.unk.reset();
  const auto fill = [&](const std::string& text) {
    vocab.tokens.push_back(text);
    vocab.scores.push_back(-10000);
    vocab.token_types.push_back(static_cast<int32_t>(GgufTokenType::unused));
  };
  fill("[PAD7]");
  vocab.tokens.push_back("wo"), vocab.scores.push_back(-3), vocab.token_types.push_back(static_cast<int32_t>(GgufTokenType::normal));
  fill("[PAD9]");
  fill("[PAD10]");
  expect_the_same(vocab);
  const auto read = written_and_read(vocab);
  ASSERT_NE(read, nullptr);
  EXPECT_EQ(read->encode("über", {.add_special = false}), (*make_gguf_tokenizer(vocab))->encode("über", {.add_special = false}));
  EXPECT_EQ(read->encode("über", {.add_special = false})[1], 3);  // the unknown token, which is typed so
  vocab.scores[8] = INFINITY;
  EXPECT_FALSE(write_huggingface_tokenizer(vocab).ok());
}

TEST(HuggingfaceFiles, WhatSentencepieceHasNoWordForIsRefused) {
  auto vocab = read_sentencepiece_vocab(std::string(SLUICE_SOURCE_DIR) + "/tests/data/tokenizers/tok512/tokenizer.model");
  ASSERT_TRUE(vocab.ok()) << vocab.error().message;
  vocab->sep = 300;
  expect_the_same(*vocab);  // it stands nowhere
  const auto refused = [](const GgufVocab& v) {
    const auto files = write_huggingface_tokenizer(v);
    ASSERT_FALSE(files.ok());
    EXPECT_NE(files.error().message.find("BOS and EOS only"), std::string::npos) << files.error().message;
  };
  GgufVocab between = *vocab, before = *vocab;
  between.add_sep = true;
  refused(between);
  before.cls = before.bos, before.bos = {};
  refused(before);
}

TEST(HuggingfaceFiles, WhatNoTokenizerIsMadeOfIsRefused) {
  GgufVocab vocab = byte_level("gpt-2");
  vocab.pre = "unheard-of";
  const auto files = write_huggingface_tokenizer(vocab);
  ASSERT_FALSE(files.ok());
  EXPECT_NE(files.error().message.find("unheard-of"), std::string::npos) << files.error().message;
}

}  // namespace
}  // namespace sluice
