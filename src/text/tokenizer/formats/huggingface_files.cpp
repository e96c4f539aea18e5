// A GGUF vocabulary as the files of a Hugging Face directory: the tokenizer, its configuration, and where generation ends.

#include "text/tokenizer/formats/huggingface_files.h"

#include <algorithm>

#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/pre_tokenizers/pre_patterns.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

std::string config_of(const GgufVocab& vocab, const std::vector<AddedToken>& added, bool add_bos, bool add_eos) {
  const bool sentencepiece = vocab.model == "llama";
  Json config = {{"add_bos_token", add_bos}, {"add_eos_token", add_eos}};
  Json list = Json::object();
  for (const AddedToken& token : added)
    list[std::to_string(token.id)] = {{"content", token.content}, {"lstrip", false}, {"normalized", token.normalized},
                                      {"rstrip", false}, {"single_word", false}, {"special", token.special}};
  config["added_tokens_decoder"] = std::move(list);
  const std::pair<const char*, std::optional<TokenId>> named[] = {
      {"bos_token", vocab.bos}, {"eos_token", vocab.eos}, {"pad_token", vocab.pad}, {"unk_token", vocab.unk}};
  for (const auto& [name, id] : named)
    if (id) config[name] = to_valid_utf8(vocab.tokens[static_cast<size_t>(*id)]);
  if (vocab.chat_templates.size() == 1 && vocab.chat_templates.contains("default")) {
    config["chat_template"] = vocab.chat_templates.at("default");
  } else if (!vocab.chat_templates.empty()) {
    config["chat_template"] = Json::array();
    for (const auto& [name, text] : vocab.chat_templates) config["chat_template"].push_back({{"name", name}, {"template", text}});
  }
  config["clean_up_tokenization_spaces"] = false;
  if (sentencepiece) {
    config["legacy"] = true;
    config["add_prefix_space"] = vocab.add_space_prefix.value_or(true);
  }
  config["tokenizer_class"] = sentencepiece ? "LlamaTokenizer" : "PreTrainedTokenizerFast";
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
  return gguf_token_type(vocab, id) == GgufTokenType::unused && vocab.tokens[id] == fmt::format("[PAD{}]", id);
}

std::vector<AddedToken> added_tokens_of(const GgufVocab& vocab) {
  std::vector<AddedToken> added;
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const GgufTokenType type = gguf_token_type(vocab, id);
    const bool special = type == GgufTokenType::control || type == GgufTokenType::unknown;
    if ((!special && type != GgufTokenType::user_defined) || vocab.tokens[id].empty()) continue;
    added.push_back({.id = static_cast<TokenId>(id), .content = to_valid_utf8(vocab.tokens[id]), .special = special,
                     .normalized = !special && vocab.model == "llama"});
  }
  return added;
}

Result<std::map<std::string, std::string>> write_huggingface_tokenizer(const GgufVocab& vocab) {
  if (vocab.model != "llama" && vocab.model != "gpt2")
    return unsupported(fmt::format("vocabularies of model '{}' are not written as a Hugging Face directory's (known: llama, gpt2)", vocab.model));
  // Refuses whatever no tokenizer can be made of, and ids beyond the vocabulary.
  if (const auto made = make_gguf_tokenizer(vocab); !made.ok()) return made.error();
  const bool sentencepiece = vocab.model == "llama";
  if (!sentencepiece) {
    SLUICE_TRY(const PrePatterns pre, find_pre_patterns(vocab.pre.empty() ? "default" : vocab.pre));
    if (pre.spelling != PieceSpelling::bytes)
      return unsupported(fmt::format(
          "a vocabulary over characters (pre-tokenizer '{}') is not written as a Hugging Face directory's", vocab.pre));
  }
  SLUICE_TRY(const TokensAround around, tokens_around(vocab));
  const auto has = [](const std::vector<TokenId>& list, const std::optional<TokenId>& id) {
    return id && std::ranges::find(list, *id) != list.end();
  };
  const bool add_bos = has(around.prefix, vocab.bos), add_eos = has(around.suffix, vocab.eos);
  if (sentencepiece && (around.prefix.size() > size_t{add_bos} || around.suffix.size() > size_t{add_eos}))
    return unsupported("a vocabulary of model 'llama' with a separator or a classifier's token around texts is not written as a Hugging Face "
                       "directory's, which has words for BOS and EOS only");
  const std::vector<AddedToken> added = added_tokens_of(vocab);
  std::map<std::string, std::string> files;
  if (sentencepiece) {
    files["tokenizer.model"] = sentencepiece_model(vocab);
  } else {
    SLUICE_TRY(files["tokenizer.json"], byte_level_json(vocab, added, around));
  }
  files["tokenizer_config.json"] = config_of(vocab, added, add_bos, add_eos);
  files["generation_config.json"] = generation_of(vocab);
  return files;
}

}  // namespace sluice
