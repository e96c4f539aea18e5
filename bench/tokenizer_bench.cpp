// Encodes documents with the tokenizer of a model directory, for bench/compare_tokenizers.py: ids to compare, and the time
// that they took on one core.
//
// usage: tokenizer_bench DIRECTORY DOCUMENTS IDS [--special] [--repeat N]
//   DOCUMENTS  a file of documents: a length of 4 bytes, least significant first, and so many bytes, again and again
//   IDS        is written: a line of ids for each document, a tab, and their decoded text as a JSON string
//   --special  control tokens written in the text are control tokens, and the tokens around a text are added

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "text/tokenizer/load_tokenizer.h"

namespace {

using namespace sluice;

int run(int argc, char** argv) {
  if (argc < 4) {
    fmt::print(stderr, "usage: tokenizer_bench DIRECTORY DOCUMENTS IDS [--special] [--repeat N]\n");
    return 2;
  }
  bool special = false;
  int repeat = 1;
  for (int i = 4; i < argc; ++i) {
    if (std::strcmp(argv[i], "--special") == 0) special = true;
    if (std::strcmp(argv[i], "--repeat") == 0 && i + 1 < argc) repeat = std::atoi(argv[++i]);
  }
  const auto start = std::chrono::steady_clock::now();
  const auto seconds_since = [](auto then) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count();
  };
  const auto tokenizer = load_tokenizer_directory(argv[1]);
  if (!tokenizer.ok()) {
    fmt::print(stderr, "{}\n", tokenizer.error().message);
    return 1;
  }
  const double load_s = seconds_since(start);
  const auto file = read_file(argv[2]);
  if (!file.ok()) {
    fmt::print(stderr, "{}\n", file.error().message);
    return 1;
  }
  std::vector<std::string_view> documents;
  size_t bytes = 0;
  for (size_t at = 0; at + 4 <= file->size();) {
    uint32_t size = 0;
    std::memcpy(&size, file->data() + at, 4);
    documents.push_back(std::string_view(*file).substr(at + 4, size));
    bytes += documents.back().size();
    at += 4 + size;
  }
  const EncodeOptions options{.add_special = special, .parse_special = special};
  std::vector<std::vector<TokenId>> ids(documents.size());
  double best_s = 1e9;
  for (int round = 0; round < repeat; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    for (size_t i = 0; i < documents.size(); ++i) ids[i] = (*tokenizer)->encode(documents[i], options);
    best_s = std::min(best_s, seconds_since(begin));
  }
  size_t tokens = 0;
  std::ofstream out(argv[3], std::ios::binary);
  for (const auto& line : ids) {
    tokens += line.size();
    for (size_t i = 0; i < line.size(); ++i) out << (i > 0 ? " " : "") << line[i];
    out << '\t' << nlohmann::json((*tokenizer)->decode(line, {.skip_special = true})).dump() << '\n';
  }
  fmt::print("{{\"documents\": {}, \"bytes\": {}, \"tokens\": {}, \"load_s\": {:.4f}, \"encode_s\": {:.6f}}}\n",
             documents.size(), bytes, tokens, load_s, best_s);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return run(argc, argv); }
