// A GGUF vocabulary as the files of a Hugging Face directory: the tokenizer, its configuration, and where generation ends.

#include "text/tokenizer/formats/huggingface_files.h"

#include <algorithm>

#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

/// How a kind of vocabulary is written.
struct Writer {
  std::string_view model, file, tokenizer_class;
  Result<std::string> (*write)(const VocabToWrite&);
};
constexpr Writer kWriters[] = {{"llama", "tokenizer.model", "LlamaTokenizer", sentencepiece_model},
                               {"gpt2", "tokenizer.json", "PreTrainedTokenizerFast", byte_level_json},
                               {"bert", "tokenizer.json", "BertTokenizerFast", word_piece_json},
                               {"t5", "tokenizer.json", "PreTrainedTokenizerFast", unigram_json},
                               {"rwkv", "rwkv_vocab_v20230424.txt", "RwkvTokenizer", rwkv_vocab_text}};

Result<const Writer*> find_writer(std::string_view model) {
  std::string known;
  for (const Writer& writer : kWriters) {
    if (writer.model == model) return &writer;
    known.append(known.empty() ? "" : ", ").append(writer.model);
  }
  return unsupported(fmt::format("vocabularies of model '{}' are not written as a Hugging Face directory's (known: {})", model, known));
}

std::string config_of(const VocabToWrite& what, const Writer& writer) {
  const GgufVocab& vocab = what.vocab;
  Json config = {{"add_bos_token", holds(what.around.prefix, vocab.bos)}, {"add_eos_token", holds(what.around.suffix, vocab.eos)}};
  Json list = Json::object();
  for (const AddedToken& token : what.added)
    list[std::to_string(token.id)] = {{"content", token.content}, {"lstrip", false}, {"normalized", token.normalized},
                                      {"rstrip", false}, {"single_word", false}, {"special", token.special}};
  config["added_tokens_decoder"] = std::move(list);
  const std::pair<const char*, std::optional<TokenId>> named[] = {{"bos_token", vocab.bos}, {"eos_token", vocab.eos}, {"pad_token", vocab.pad}, {"unk_token", vocab.unk},
                                                                  {"sep_token", vocab.sep}, {"cls_token", vocab.cls}, {"mask_token", vocab.mask}};
  for (const auto& [name, id] : named)
    if (id && !is_filling(vocab, static_cast<size_t>(*id))) config[name] = to_valid_utf8(vocab.tokens[static_cast<size_t>(*id)]);
  if (vocab.chat_templates.size() == 1 && vocab.chat_templates.contains("default")) {
    config["chat_template"] = vocab.chat_templates.at("default");
  } else if (!vocab.chat_templates.empty()) {
    config["chat_template"] = Json::array();
    for (const auto& [name, text] : vocab.chat_templates) config["chat_template"].push_back({{"name", name}, {"template", text}});
  }
  config["clean_up_tokenization_spaces"] = false;
  if (vocab.model == "llama") {
    config["legacy"] = true;
    config["add_prefix_space"] = vocab.add_space_prefix.value_or(true);
  } else if (vocab.model == "bert") {
    const BertCleaning cleaning = gguf_bert_cleaning(vocab);
    config["do_lower_case"] = cleaning.lowercase;
    config["strip_accents"] = cleaning.strip_accents;
  }
  // Else transformers hands token types to models that have none.
  if (writer.tokenizer_class == "PreTrainedTokenizerFast") config["model_input_names"] = {"input_ids", "attention_mask"};
  config["tokenizer_class"] = writer.tokenizer_class;
  return text_of(config);
}

std::string generation_of(const GgufVocab& vocab) {
  Json config = Json::object();
  if (vocab.bos) config["bos_token_id"] = *vocab.bos;
  if (vocab.eos && vocab.eot && vocab.eot != vocab.eos) config["eos_token_id"] = {*vocab.eos, *vocab.eot};
  else if (vocab.eos) config["eos_token_id"] = *vocab.eos;
  else if (vocab.eot) config["eos_token_id"] = *vocab.eot;
  if (vocab.pad) config["pad_token_id"] = *vocab.pad;
  return text_of(config);
}

}  // namespace

bool is_filling(const GgufVocab& vocab, size_t id) {
  const std::string& text = vocab.tokens[id];
  constexpr std::string_view kBegin = "[PAD";
  return gguf_token_type(vocab, id) == GgufTokenType::unused && text.starts_with(kBegin) && text.ends_with(']') && text.size() > kBegin.size() + 1 &&
         std::all_of(text.begin() + kBegin.size(), text.end() - 1, [](char c) { return c >= '0' && c <= '9'; });
}

size_t without_filling(const GgufVocab& vocab) {
  size_t count = vocab.tokens.size();
  while (count > 0 && is_filling(vocab, count - 1)) --count;
  return count;
}

bool holds(const std::vector<TokenId>& list, const std::optional<TokenId>& id) { return id && std::ranges::find(list, *id) != list.end(); }

bool marks_both_ends(const TokensAround& around) { return !around.prefix.empty() && !around.suffix.empty(); }

Json tokenizer_frame(const VocabToWrite& what) {
  Json list = Json::array(), specials = Json::object();
  for (const AddedToken& token : what.added)
    list.push_back({{"id", token.id}, {"content", token.content}, {"single_word", false}, {"lstrip", false}, {"rstrip", false},
                    {"normalized", token.normalized}, {"special", token.special}});
  const auto put = [&](const std::vector<TokenId>& ids, int type, Json& to) {
    for (const TokenId id : ids) {
      const std::string text = to_valid_utf8(what.vocab.tokens[static_cast<size_t>(id)]);
      specials[text] = {{"id", text}, {"ids", {id}}, {"tokens", {text}}};
      to.push_back({{"SpecialToken", {{"id", text}, {"type_id", type}}}});
    }
  };
  const auto text = [](const char* name, int type) -> Json { return {{"Sequence", {{"id", name}, {"type_id", type}}}}; };
  const std::vector<TokenId>&prefix = what.around.prefix, &suffix = what.around.suffix;
  // Where one end alone is marked, the second text begins anew.
  const bool apart = !marks_both_ends(what.around);
  const int second = apart ? 1 : what.around.pair.second_type;
  Json single = Json::array(), pair = Json::array();
  for (Json* const to : {&single, &pair}) {
    put(prefix, 0, *to);
    to->push_back(text("A", 0));
    put(apart || to == &single ? suffix : what.around.pair.between, 0, *to);
  }
  if (apart) put(prefix, second, pair);
  pair.push_back(text("B", second));
  put(suffix, second, pair);
  Json document = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}, {"added_tokens", std::move(list)}};
  document["post_processor"] = nullptr;
  if (!prefix.empty() || !suffix.empty())
    document["post_processor"] = {{"type", "TemplateProcessing"}, {"single", std::move(single)}, {"pair", std::move(pair)}, {"special_tokens", std::move(specials)}};
  return document;
}

std::string with_model(const Json& document, const Json& model, const std::string& texts) {
  std::string head = document.dump(), last = model.dump();
  head.pop_back();
  last.pop_back();
  return fmt::format("{},\"model\":{},{}}}}}\n", head, last, texts);
}

std::vector<AddedToken> added_tokens_of(const GgufVocab& vocab) {
  std::vector<AddedToken> added;
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const GgufTokenType type = gguf_token_type(vocab, id);
    const bool special = type == GgufTokenType::control || type == GgufTokenType::unknown;
    if ((!special && type != GgufTokenType::user_defined) || vocab.tokens[id].empty()) continue;
    added.push_back({.id = static_cast<TokenId>(id), .content = to_valid_utf8(vocab.tokens[id]), .special = special,
                     .normalized = !special && (vocab.model == "llama" || vocab.model == "t5")});
  }
  return added;
}

Result<std::map<std::string, std::string>> write_huggingface_tokenizer(const GgufVocab& vocab) {
  SLUICE_TRY(const Writer* writer, find_writer(vocab.model));
  // Refuses whatever no tokenizer can be made of, and ids beyond the vocabulary.
  if (const auto made = make_gguf_tokenizer(vocab); !made.ok()) return made.error();
  SLUICE_TRY(const TokensAround around, tokens_around(vocab));
  const std::vector<AddedToken> added = added_tokens_of(vocab);
  const VocabToWrite what{vocab, added, around};
  std::map<std::string, std::string> files;
  SLUICE_TRY(files[std::string(writer->file)], writer->write(what));
  files["tokenizer_config.json"] = config_of(what, *writer);
  files["generation_config.json"] = generation_of(vocab);
  return files;
}

}  // namespace sluice
