// sluice convert: Hugging Face, llama2.c or GGUF to GGUF, in another type where asked; or random weights in a real shape.

#include <cstdio>
#include <filesystem>

#include "apps/catalog_help.h"
#include "apps/command.h"
#include "apps/model_text.h"
#include "apps/progress.h"
#include "base/machine.h"
#include "base/mapped_file.h"
#include "base/options.h"
#include "model/model.h"
#include "text/tokenizer/load_tokenizer.h"
#include "weights/convert.h"

namespace sluice {
namespace {

struct Flags {
  std::string input, output, type, tokenizer, name, like;
  bool random = false;
  uint64_t seed = 0;
};

Result<GgufVocab> llama2c_vocabulary(const Flags& flags) {
  if (flags.tokenizer.empty())
    return invalid_argument("a llama2.c model needs its tokenizer: --tokenizer tokenizer.bin (or .model)", "--tokenizer");
  return flags.tokenizer.ends_with(".model") ? read_sentencepiece_vocab(flags.tokenizer) : read_llama2c_vocab(flags.tokenizer);
}

Result<GgufPlan> make_plan(const Flags& flags) {
  const bool gguf = flags.input.ends_with(".gguf");
  SLUICE_TRY(const QuantRecipe* recipe, find_quant_recipe(!flags.type.empty() ? flags.type : flags.random ? "q8_0" : "f16"));
  if (flags.random) return plan_random(flags.like, flags.seed, *recipe);
  if (gguf) return plan_requantize(flags.input, *recipe);
  const std::string stem = std::filesystem::path(flags.input).stem().string();
  const std::string name = !flags.name.empty() ? flags.name : stem;
  if (flags.input.ends_with(".bin")) {
    SLUICE_TRY(const GgufVocab vocab, llama2c_vocabulary(flags));
    return plan_llama2c(flags.input, name, vocab, *recipe);
  }
  SLUICE_TRY(const auto source, open_tensor_source(flags.input));
  const std::string directory = is_directory(flags.input) ? flags.input : std::filesystem::path(flags.input).parent_path().string();
  SLUICE_TRY(const GgufVocab vocab, read_huggingface_vocab(directory));
  return plan_huggingface(source, name, vocab, *recipe);
}

}  // namespace

Result<int> convert_main(const std::vector<std::string>& args) {
  Flags flags;
  OptionSet options("sluice convert", "Converts a model to GGUF.");
  options.add("--input,input", flags.input, "a Hugging Face directory, a llama2.c .bin, or a .gguf to requantize");
  options.add("-o,--output,output", flags.output, "the .gguf to write");
  options.add("--type", flags.type, catalog_help("type of the matrices, f16 (random: q8_0) when absent", quant_recipes()));
  options.add("--tokenizer", flags.tokenizer, "tokenizer.bin or .model, for a llama2.c model");
  options.add("--name", flags.name, "general.name; the input's name when absent");
  options.add("--random", flags.random, "random weights; takes --like and the output only");
  options.add("--like", flags.like, catalog_help("shape of a random model", random_shapes()));
  options.add("--seed", flags.seed, "seed of the random weights");
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  if (flags.random && flags.output.empty()) std::swap(flags.input, flags.output);
  if (flags.output.empty() || (!flags.random && flags.input.empty()))
    return invalid_argument("an input and an output are needed: sluice convert INPUT OUTPUT.gguf");
  if (flags.random && flags.like.empty()) return invalid_argument("--random needs --like SHAPE (see --help)");

  SLUICE_TRY(const GgufPlan plan, make_plan(flags));
  ThreadPool pool(usable_cores());
  Progress progress("writing " + flags.output);
  SLUICE_TRY(const size_t bytes, write_gguf(flags.output, plan, pool, [&](size_t done, size_t all, const std::string& tensor) {
    progress.update(static_cast<double>(done), static_cast<double>(all), tensor);
  }));
  std::fputs(fmt::format("wrote {}: {} tensors, {}\n", flags.output, plan.tensors.size(), format_bytes(static_cast<double>(bytes))).c_str(), stderr);
  return 0;
}

}  // namespace sluice
