// sluice convert: Hugging Face, llama2.c, minGPT, rwkv.cpp, GGUF or native pack to GGUF or native pack, in another type where asked, or
// GGUF to a Hugging Face directory; or random weights in a real shape.

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "apps/catalog_help.h"
#include "apps/command.h"
#include "apps/convert_huggingface.h"
#include "apps/matrix_types.h"
#include "apps/progress.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/mapped_file.h"
#include "base/options.h"
#include "model/model.h"
#include "text/tokenizer/load_tokenizer.h"
#include "weights/convert.h"
#include "weights/gguf_file.h"
#include "weights/native_pack.h"
#include "weights/rwkv_file.h"
#include "weights/safetensors_file.h"

namespace sluice {
namespace {

struct ConvertFlags {
  std::string input, output, type, tokenizer, name, like, to, variant;
  ByteSize shard{static_cast<int64_t>(kDefaultShardBytes)};
  bool random = false, pack = false;
  uint64_t seed = 0;
};

enum class Format { gguf, huggingface, llama2c, mingpt, rwkv };

/// What a path holds, as its first bytes say. A llama2.c model of version 0 has no mark, so that what has none is taken
/// for one.
Result<Format> format_of(const std::string& path) {
  if (is_directory(path)) return Format::huggingface;
  SLUICE_TRY(const auto file, MappedFile::open(path));
  const std::string_view bytes(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  if (bytes.starts_with("GGUF")) return Format::gguf;
  if (is_rwkv_file(*file)) return Format::rwkv;
  // A .safetensors file is the length of a JSON object, in 8 bytes, and the object; the index of a sharded one is JSON
  // itself, and so is minGPT's form, which holds the values.
  uint64_t length = bytes.size();
  if (bytes.size() > 8) std::memcpy(&length, bytes.data(), 8);
  if (bytes.starts_with('{') && bytes.find("\"weight_map\"") == bytes.npos && bytes.find("\"transformer.wte.weight\"") != bytes.npos)
    return Format::mingpt;
  if ((length < bytes.size() && bytes[8] == '{') || (bytes.size() > 1 && bytes[0] == '{' && bytes[1] != '\0'))
    return Format::huggingface;
  return Format::llama2c;
}

Result<GgufVocab> llama2c_vocabulary(const ConvertFlags& flags) {
  if (flags.tokenizer.empty())
    return invalid_argument(fmt::format("{} is neither GGUF nor Hugging Face's; a llama2.c model needs its tokenizer: "
                                        "--tokenizer tokenizer.bin (or .model)",
                                        flags.input),
                            "--tokenizer");
  SLUICE_TRY(const auto file, MappedFile::open(flags.tokenizer));
  // sentencepiece's begins with a piece, of one byte at least; llama2.c's with the length of the longest token, in 4
  // bytes.
  const auto bytes = file->bytes();
  return bytes.size() > 1 && bytes[0] == 0x0a && bytes[1] != 0 ? read_sentencepiece_vocab(flags.tokenizer)
                                                               : read_llama2c_vocab(flags.tokenizer);
}

Result<Llama2cVariant> variant_of(const std::string& name) {
  std::string names;
  for (const Llama2cVariantName& known : llama2c_variants()) {
    if (name == known.name || name.empty()) return known.variant;
    names += (names.empty() ? "" : ", ") + std::string(known.name);
  }
  return invalid_argument(fmt::format("unknown variant \"{}\"; known are {}", name, names), "--variant");
}

/// Without --type, what goes into a pack or comes out of one keeps its types.
Result<GgufPlan> plan_gguf(const ConvertFlags& flags, const QuantRecipe& recipe) {
  bool keep = flags.type.empty() && flags.pack;
  if (flags.type.empty() && !flags.pack) {
    SLUICE_TRY(const std::vector<GgufKey> keys, read_gguf_keys(flags.input));
    SLUICE_TRY(keep, is_pack(keys, flags.input));
    SLUICE_TRY(const auto source, open_gguf(flags.input));
    const bool quantized = std::ranges::any_of(source->tensors(), [](const TensorInfo& t) { return dtype_info(t.dtype).block_elems > 1; });
    if (!keep && quantized) log_info("{} has {}: they become f16, as --type does not say otherwise", flags.input, matrix_types(source->tensors()));
  }
  return plan_requantize(flags.input, keep ? nullptr : &recipe);
}

Result<GgufPlan> plan_input(const ConvertFlags& flags, Format format, const QuantRecipe& recipe) {
  if (format == Format::gguf) return plan_gguf(flags, recipe);
  const std::filesystem::path path = std::filesystem::absolute(flags.input).lexically_normal();
  const std::string name = (path.has_filename() ? path : path.parent_path()).stem().string();
  if (format == Format::llama2c) {
    SLUICE_TRY(const GgufVocab vocab, llama2c_vocabulary(flags));
    SLUICE_TRY(const Llama2cVariant variant, variant_of(flags.variant));
    return plan_llama2c(flags.input, name, vocab, recipe, variant);
  }
  if (format == Format::rwkv) {
    GgufVocab vocab;
    if (!flags.tokenizer.empty()) {
      SLUICE_TRY(vocab, read_huggingface_vocab(flags.tokenizer));
    }
    return plan_rwkv(flags.input, name, flags.tokenizer.empty() ? nullptr : &vocab, recipe);
  }
  if (format == Format::mingpt) return plan_mingpt(flags.input, name, recipe);
  SLUICE_TRY(const auto source, open_safetensors(flags.input));
  for (const TensorInfo& info : source->tensors())
    if (!source->column_order(info).empty())
      return unsupported(fmt::format("{}: tensor {} has its columns in another order (GPTQ's desc_act), for which GGUF has no place; it runs "
                                     "from where it is", source->files()[info.file_index], info.name));
  SLUICE_TRY(const GgufVocab vocab,
             read_huggingface_vocab((is_directory(flags.input) ? path : path.parent_path()).string()));
  return plan_huggingface(source, name, vocab, recipe);
}

/// Every flag takes effect or is refused.
Result<GgufPlan> make_plan(const ConvertFlags& flags, bool seeded) {
  GgufPlan plan;
  SLUICE_TRY(const QuantRecipe* recipe, find_quant_recipe(!flags.type.empty() ? flags.type
                                                          : flags.random      ? "q8_0"
                                                                              : "f16"));
  if (flags.random) {
    if (flags.like.empty()) return invalid_argument("--random needs --like SHAPE (see --help)", "--like");
    if (!flags.input.empty())
      return invalid_argument(
          fmt::format("--random takes no input, but {} is given before the output {}", flags.input, flags.output),
          "--input");
    if (!flags.tokenizer.empty())
      return invalid_argument("--tokenizer does not go with --random, which makes up a vocabulary", "--tokenizer");
    if (!flags.variant.empty())
      return invalid_argument("--variant does not go with --random, whose shape says what it computes", "--variant");
    SLUICE_TRY(plan, plan_random(flags.like, flags.seed, *recipe));
  } else {
    if (!flags.like.empty() || seeded)
      return invalid_argument(
          fmt::format("{} is of --random weights, and that is not given", seeded ? "--seed" : "--like"),
          seeded ? "--seed" : "--like");
    SLUICE_TRY(const Format format, format_of(flags.input));
    if (!flags.tokenizer.empty() && format != Format::llama2c && format != Format::rwkv)
      return invalid_argument(fmt::format("--tokenizer is for llama2.c and rwkv.cpp models; {} brings its own", flags.input),
                              "--tokenizer");
    if (!flags.variant.empty() && format != Format::llama2c)
      return invalid_argument(fmt::format("--variant is for llama2.c models; {} says what it is", flags.input), "--variant");
    SLUICE_TRY(plan, plan_input(flags, format, *recipe));
  }
  if (!flags.name.empty()) {
    std::erase_if(plan.keys, [](const GgufKey& key) { return key.name == "general.name"; });
    plan.keys.push_back(GgufKey::text("general.name", flags.name));
  }
  return flags.pack ? as_pack(std::move(plan)) : plan;
}

/// What --to says, or else the output's name.
Result<bool> to_directory(const ConvertFlags& flags) {
  if (flags.to == "huggingface" || flags.to == "gguf") return flags.to == "huggingface";
  if (!flags.to.empty()) return invalid_argument(fmt::format("unknown format \"{}\"; known are gguf, huggingface", flags.to), "--to");
  return !flags.pack && !flags.random && means_directory(flags.output);
}

/// A name that says something else than what would be written: a GGUF, of which a pack is one too.
Status check_ending(const ConvertFlags& flags) {
  const std::string ending = std::filesystem::path(flags.output).extension().string();
  if (ending == ".pack" && !flags.pack)
    return invalid_argument(fmt::format("{} is named as a native pack, and a GGUF would be written: give --pack, or another name", flags.output), "--output");
  for (const char* other : {".safetensors", ".bin", ".json", ".pt", ".pth", ".onnx"})
    if (ending == other) return invalid_argument(fmt::format("{} would be written as {}, or, for a Hugging Face directory of a GGUF, without an ending", flags.output, flags.pack ? "a native pack: name it .pack" : "GGUF: name it .gguf"), "--output");
  return {};
}

/// Every flag takes effect or is refused here, too.
Status write_directory(const ConvertFlags& flags, bool seeded) {
  const std::pair<const char*, bool> others[] = {{"--random", flags.random},          {"--pack", flags.pack},
                                                 {"--name", !flags.name.empty()},     {"--tokenizer", !flags.tokenizer.empty()},
                                                 {"--like", !flags.like.empty()},     {"--seed", seeded}};
  for (const auto& [name, given] : others)
    if (given) return invalid_argument(fmt::format("{} does not go with a Hugging Face directory, as which {} is written", name, flags.output), name);
  SLUICE_TRY(const Format format, format_of(flags.input));
  if (format != Format::gguf)
    return invalid_argument(fmt::format("{} is no GGUF, of which a Hugging Face directory could be made; for a GGUF name a file, as {}.gguf",
                                        flags.input, flags.output), "--output");
  return convert_to_huggingface({flags.input, flags.output, flags.type, flags.shard});
}

}  // namespace

Result<int> convert_main(const std::vector<std::string>& args) {
  ConvertFlags flags;
  OptionSet options("sluice convert", "Converts a model to GGUF, to a native pack that starts at once, or to a Hugging Face directory.");
  options.add("--input,input", flags.input,
              "a Hugging Face directory, a model of llama2.c or rwkv.cpp, a minGPT state dict in JSON, or a GGUF or native pack to requantize");
  options.add("-o,--output,output", flags.output,
              "the file to write; of a GGUF a new or empty directory too, as which a name without an ending counts, or with a number for one (v1.5)");
  options.add("--to", flags.to, "gguf or huggingface; when absent as the output's name says");
  options.add("--type", flags.type,
              catalog_help("type of the matrices; when absent f16 (random: q8_0), or, of a GGUF that is packed and of a "
                           "pack that is unpacked, as they are; in a Hugging Face directory bf16, f16 or f32, to which quantized matrices "
                           "are decoded (bf16 when absent), while floats stay as they are",
                           quant_recipes()));
  options.add("--pack", flags.pack,
              "write a native pack: a GGUF whose matrices have the kernels' layout and are used where they are mapped; "
              "only this build's layout is read");
  options.add("--tokenizer", flags.tokenizer,
              "of a llama2.c model: its tokenizer.bin, or sentencepiece's tokenizer.model; of an rwkv.cpp model whose tokens are no bytes: "
              "the directory with its rwkv_vocab_*.txt or tokenizer.json");
  options.add("--max-shard-size", flags.shard, "of a Hugging Face directory: most bytes of tensors in one file");
  options.add("--name", flags.name,
              "general.name; when absent that of a GGUF, the shape's, or the name of the input's file");
  options.add("--random", flags.random, "random weights; takes --like and the output only");
  options.add("--variant", flags.variant,
              catalog_help("what a llama2.c model was trained to compute, which its file does not say", llama2c_variants()));
  options.add("--like", flags.like, catalog_help("shape of a random model", random_shapes()));
  options.add("--seed", flags.seed, "seed of the random weights");
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  if (flags.random && flags.output.empty()) std::swap(flags.input, flags.output);
  if (flags.output.empty() || (!flags.random && flags.input.empty()))
    return invalid_argument(flags.random ? "an output is needed: sluice convert --random --like SHAPE OUTPUT.gguf"
                                         : "an input and an output are needed: sluice convert INPUT OUTPUT.gguf");

  std::error_code none;
  if (!flags.random && std::filesystem::equivalent(flags.input, flags.output, none))
    return invalid_argument(fmt::format("{} is what is read; it cannot be written over meanwhile", flags.output), "--output");
  SLUICE_TRY(const bool directory, to_directory(flags));
  if (directory) {
    SLUICE_TRY_STATUS(write_directory(flags, options.given("seed")));
    return 0;
  }
  if (options.given("max-shard-size"))
    return invalid_argument(fmt::format("--max-shard-size is of a Hugging Face directory, and {} is written as GGUF", flags.output), "--max-shard-size");
  SLUICE_TRY_STATUS(check_ending(flags));
  SLUICE_TRY(const GgufPlan plan, make_plan(flags, options.given("seed")));
  ThreadPool pool(usable_cores());
  Progress progress("writing " + flags.output);
  SLUICE_TRY(const size_t bytes,
             write_gguf(flags.output, plan, pool, [&](size_t done, size_t all, const std::string& tensor) {
               progress.update(static_cast<double>(done), static_cast<double>(all), tensor);
             }));
  std::fputs(fmt::format("wrote {}: {} tensors, {}; matrices: {}\n", flags.output, plan.tensors.size(),
                         format_bytes(static_cast<double>(bytes)), matrix_types(plan.tensors))
                 .c_str(),
             stderr);
  return 0;
}

}  // namespace sluice
