// *.tiktoken, and the tokenizer.model of Llama 3: lines of a token in base64 and its rank. How text is split, and which
// special tokens there are, the file does not say; its name or its size does.

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iomanip>

#include "base/mapped_file.h"
#include "base/base64.h"
#include "text/tokenizer/catalog.h"
#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/formats/ranked_tokens.h"
#include "text/tokenizer/load_tokenizer.h"

namespace sluice {
namespace {

struct Special {
  std::string content;
  TokenId id;
};
using Specials = std::vector<Special>;

void add_series(Specials& out, const char* format, int first_number, TokenId first_id, TokenId last_id) {
  for (TokenId id = first_id; id <= last_id; ++id)
    out.push_back({fmt::format(fmt::runtime(format), first_number + (id - first_id)), id});
}

Specials gpt2_specials() { return {{"<|endoftext|>", 50256}}; }
Specials cl100k_specials() {
  return {{"<|endoftext|>", 100257}, {"<|fim_prefix|>", 100258}, {"<|fim_middle|>", 100259},
          {"<|fim_suffix|>", 100260}, {"<|endofprompt|>", 100276}};
}
Specials o200k_specials() { return {{"<|endoftext|>", 199999}, {"<|endofprompt|>", 200018}}; }
Specials harmony_specials() {
  Specials out = {{"<|startoftext|>", 199998}, {"<|endoftext|>", 199999}, {"<|return|>", 200002},
                  {"<|constrain|>", 200003},   {"<|channel|>", 200005},   {"<|start|>", 200006},
                  {"<|end|>", 200007},         {"<|message|>", 200008},   {"<|call|>", 200012}};
  add_series(out, "<|reserved_{}|>", 200000, 200000, 200001);
  add_series(out, "<|reserved_{}|>", 200004, 200004, 200004);
  add_series(out, "<|reserved_{}|>", 200009, 200009, 200011);
  add_series(out, "<|reserved_{}|>", 200013, 200013, 200017);
  out.push_back({"<|endofprompt|>", 200018});
  add_series(out, "<|reserved_{}|>", 200019, 200019, 201087);
  return out;
}
Specials llama3_specials() {
  Specials out = {{"<|begin_of_text|>", 128000}, {"<|end_of_text|>", 128001},   {"<|finetune_right_pad_id|>", 128004},
                  {"<|start_header_id|>", 128006}, {"<|end_header_id|>", 128007}, {"<|eom_id|>", 128008},
                  {"<|eot_id|>", 128009},          {"<|python_tag|>", 128010}};
  add_series(out, "<|reserved_special_token_{}|>", 0, 128002, 128003);
  add_series(out, "<|reserved_special_token_{}|>", 2, 128005, 128005);
  add_series(out, "<|reserved_special_token_{}|>", 3, 128011, 128255);
  return out;
}
Specials qwen_specials() {
  Specials out = {{"<|endoftext|>", 151643}, {"<|im_start|>", 151644}, {"<|im_end|>", 151645}};
  add_series(out, "<|extra_{}|>", 0, 151646, 151850);
  return out;
}
Specials kimi_specials() {
  return {{"[BOS]", 163584},         {"[EOS]", 163585},          {"<|im_end|>", 163586},    {"<|im_user|>", 163587},
          {"<|im_assistant|>", 163588}, {"<|start_header_id|>", 163590}, {"<|end_header_id|>", 163591},
          {"[EOT]", 163593},         {"<|im_system|>", 163594},  {"<|im_middle|>", 163601}, {"[UNK]", 163838},
          {"[PAD]", 163839}};
}

struct Known {
  std::string_view name;  // part of the file's name
  size_t ranks;           // one more than the highest
  std::string_view pre;   // how text is split
  Specials (*specials)();
  std::string_view bos, eos;
  bool add_bos;
};

constexpr Known kKnown[] = {
    {"o200k_harmony", 199998, "o200k_base", harmony_specials, "<|startoftext|>", "<|return|>", false},
    {"o200k_base", 199998, "o200k_base", o200k_specials, "", "<|endoftext|>", false},
    {"cl100k_base", 100256, "cl100k_base", cl100k_specials, "", "<|endoftext|>", false},
    {"p50k_base", 50281, "r50k_base", gpt2_specials, "", "<|endoftext|>", false},
    {"r50k_base", 50256, "r50k_base", gpt2_specials, "<|endoftext|>", "<|endoftext|>", false},
    {"llama-3", 128000, "llama-bpe", llama3_specials, "<|begin_of_text|>", "<|end_of_text|>", true},
    {"qwen", 151643, "qwen", qwen_specials, "", "<|endoftext|>", false},
    {"kimi", 163584, "kimi-k2", kimi_specials, "[BOS]", "[EOS]", false},
};

Result<const Known*> find_known(std::string_view file_name, size_t ranks) {
  for (const Known& known : kKnown)
    if (file_name.find(known.name) != std::string_view::npos) return &known;
  std::string list;
  for (const Known& known : kKnown) {
    if (known.ranks == ranks && known.name != "o200k_harmony") return &known;
    list += fmt::format("{}{} of {}", list.empty() ? "" : ", ", known.name, known.ranks);
  }
  return unsupported(fmt::format("how text is split is not known of a vocabulary of {} ranks (known: {})", ranks, list));
}

Result<RankedTokens> parse_lines(std::string_view file) {
  RankedTokens out;
  for (size_t at = 0, line = 1; at < file.size(); ++line) {
    const size_t end = std::min(file.find('\n', at), file.size());
    std::string_view text = file.substr(at, end - at);
    at = end + 1;
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (text.empty()) continue;
    const size_t space = text.find(' ');
    const auto token = from_base64(text.substr(0, space));
    uint32_t rank = 0;
    const std::string_view number = space == std::string_view::npos ? "" : text.substr(space + 1);
    const auto [rest, error] = std::from_chars(number.data(), number.data() + number.size(), rank);
    if (!token || token->empty() || error != std::errc() || rest != number.data() + number.size() ||
        rank > kMaxTokenId)
      return corrupt_data(fmt::format("line {} is not a token in base64, a space and a rank", line));
    if (rank >= out.tokens.size()) out.tokens.resize(rank + 1);
    if (!out.tokens[rank].empty()) return corrupt_data(fmt::format("line {}: rank {} is there twice", line, rank));
    out.tokens[rank] = *token;
  }
  if (out.tokens.empty()) return corrupt_data("no tokens");
  return out;
}

Result<GgufVocab> read(const std::string& path, const std::string& file) {
  SLUICE_TRY(const RankedTokens ranked, parse_lines(file));
  SLUICE_TRY(const Known* known, find_known(std::filesystem::path(path).filename().string(), ranked.tokens.size()));
  GgufVocab vocab;
  vocab.model = "gpt2";
  vocab.pre = known->pre;
  SLUICE_TRY_STATUS(add_ranked_tokens(ranked, vocab));
  for (const Special& special : known->specials()) {
    SLUICE_TRY_STATUS(put_token(vocab, special.id, special.content, GgufTokenType::control));
    if (special.content == known->bos) vocab.bos = special.id;
    if (special.content == known->eos) vocab.eos = special.id;
  }
  vocab.add_bos = known->add_bos;
  return vocab;
}

}  // namespace

std::optional<std::string> tiktoken_file(const std::string& directory) {
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(directory, none))
    if (entry.path().extension() == ".tiktoken") return entry.path().string();
  for (const char* name : {"/tiktoken.model", "/tokenizer.model"}) {
    std::ifstream file(directory + name, std::ios::binary);
    std::string token, rank;  // a model of sentencepiece begins otherwise
    if (file >> std::setw(256) >> token >> std::setw(256) >> rank && from_base64(token) && rank == "0")
      return directory + name;
  }
  return std::nullopt;
}

Result<GgufVocab> read_tiktoken_vocab(const std::string& path) {
  SLUICE_TRY(const std::string file, read_file(path));
  auto vocab = read(path, file);
  if (!vocab.ok()) return vocab.error().in(path);
  return vocab;
}

Result<std::unique_ptr<Tokenizer>> load_tiktoken(const std::string& directory, const TokenizerConfig& config) {
  const std::string path = tiktoken_file(directory).value_or(directory);
  SLUICE_TRY(const GgufVocab vocab, read_tiktoken_vocab(path));
  auto tokenizer = build_gguf_tokenizer(vocab, config);
  if (!tokenizer.ok()) return tokenizer.error().in(path);
  return tokenizer;
}

}  // namespace sluice
