// sluice inspect: what is in a model, and what it will take here.

#include <algorithm>
#include <cstdio>
#include <map>

#include "apps/command.h"
#include "apps/encoder_stack.h"
#include "apps/kv_sizing.h"
#include "apps/model_text.h"
#include "apps/printable.h"
#include "apps/progress.h"
#include "base/machine.h"
#include "weights/memory_check.h"
#include "weights/native_pack.h"

namespace sluice {
namespace {

void print(const std::string& text) { std::fputs(text.c_str(), stdout); }
void row(const char* name, const std::string& value) { print(fmt::format("{:<18} {}\n", name, printable(value))); }

/// The first 100 bytes or so, in whole characters.
std::string beginning(const std::string& text) {
  size_t end = 100;
  if (text.size() <= end) return text;
  while (end > 0 && (text[end] & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

void print_types(const TensorSource& source) {
  std::map<std::string_view, std::pair<int, size_t>> by_type;
  size_t total = 0;
  for (const TensorInfo& t : source.tensors()) {
    auto& [count, bytes] = by_type[dtype_name(t.dtype)];
    ++count;
    bytes += t.size_bytes;
    total += t.size_bytes;
  }
  row("tensors", fmt::format("{}, {}", source.tensors().size(), format_bytes(static_cast<double>(total))));
  for (const auto& [name, entry] : by_type)
    row("", fmt::format("{:<7} {:>5} tensors, {}", name, entry.first, format_bytes(static_cast<double>(entry.second))));
}

Status print_pack(const TensorSource& source, bool verify) {
  if (const auto version = source.metadata().integer(kPackVersionKey); version.ok())
    row("native pack", fmt::format("layout {}, {} matrices packed", *version,
                                   std::ranges::count(source.tensors(), true, &TensorInfo::packed)));
  if (!verify) return {};
  ThreadPool pool(usable_cores());
  Progress progress("verifying");
  SLUICE_TRY(const size_t checked, verify_pack(source, pool, [&](size_t done, size_t all) {
               progress.update(static_cast<double>(done), static_cast<double>(all));
             }));
  row("checksums", fmt::format("of {} tensors, as written", checked));
  return {};
}

/// As an encoder, where the files make it one.
Result<EncoderInfo> describe_reading(const TensorSource& source) {
  SLUICE_TRY(const std::optional<TextUse> use, choose_use({}, source));
  if (!use) return not_found("the files do not make it an encoder");
  return plan_encoder(source, *use);
}

void print_text(const std::string& path, const TensorSource& source) {
  auto text = load_model_text(path, source, "");
  if (!text.ok()) {
    row("tokenizer", "cannot be loaded: " + text.error().message);
    return;
  }
  const Tokenizer& t = *text->tokenizer;
  auto name = [&](std::optional<TokenId> id) { return id ? fmt::format("{}", *id) : std::string("none"); };
  std::string ends;
  for (const TokenId id : t.end_of_generation()) ends += (ends.empty() ? "" : ", ") + std::to_string(id);
  row("tokenizer", fmt::format("{} tokens, BOS {}, EOS {}, generation ends at [{}]", t.vocab_size(), name(t.bos()),
                               name(t.eos()), ends));
  row("chat template", text->chat ? text->chat_origin : "none (chat needs --chat-template)");
  if (const auto defaults = load_generation_defaults(path, t); defaults.ok()) {
    const SamplingParams& s = defaults->sampling;
    row("sampling defaults", fmt::format("temperature {}, top_k {}, top_p {}, min_p {}, repetition_penalty {}",
                                         s.temperature, s.top_k, s.top_p, s.min_p, s.repetition_penalty));
  }
}

}  // namespace

Result<int> inspect_main(const std::vector<std::string>& args) {
  EngineFlags flags;
  bool tensors = false, metadata = false, verify = false;
  OptionSet options(
      "sluice inspect",
      "Shows what is in a model: architecture, tensors, types, sizes, tokenizer, chat template, and the\n"
      "memory and context that it will take here. The flags of serve that change these are taken into account.");
  options.add("--tensors", tensors, "list every tensor");
  options.add("--metadata", metadata, "list every key of the model's metadata");
  options.add("--verify", verify, "read every byte of a native pack and compare its checksums");
  flags.declare(options);
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  if (flags.model.empty()) return invalid_argument("no model given: name a .gguf file or a Hugging Face directory");

  SLUICE_TRY_STATUS(flags.check());
  SLUICE_TRY([[maybe_unused]] const OpTable* table, select_op_table(flags.isa));
  ThreadPool pool(1);  // which encodes nothing: no weight is looked at
  SLUICE_TRY(const auto source, open_weights(flags, pool));
  for (const std::string& file : source->files()) row("file", file);
  row("architecture", source->metadata().architecture());
  auto described = plan_model(*source);
  const auto reading = describe_reading(*source);
  if (described.ok() || reading.ok()) {
    const ModelInfo& info = described.ok() ? described->info : reading->model;
    row("parameters", fmt::format("{}", info.parameters));
    row("shape", fmt::format("{} layers, hidden {}, FFN {}, {} heads, {} KV heads of {}, vocabulary {}", info.layers,
                             info.hidden, info.ffn, info.heads, info.kv_heads, info.head_dim, info.vocab_size));
    if (info.experts > 0) row("experts", fmt::format("{}, of which a token takes {}", info.experts, info.experts_per_token));
    row("context", fmt::format("{} tokens", info.max_positions));
    row("use", reading.ok() ? describe(*reading) : "generates text");
  } else {
    const auto generates = generates_text(*source);
    row("", "cannot run here: " + (generates.ok() && !*generates ? reading.error() : described.error()).message);
  }
  print_types(*source);
  SLUICE_TRY_STATUS(print_pack(*source, verify));
  print_text(flags.model, *source);
  if (reading.ok()) row("memory per token", format_bytes(static_cast<double>(reading->bytes_per_token)) + " of a pass");
  if (described.ok()) {
    const MemoryLimit limit = memory_limit();
    const size_t weights = described->info.weight_bytes;
    row("memory",
        fmt::format("{} free of {}; weights take {}", format_bytes(static_cast<double>(limit.available_bytes)),
                    format_bytes(static_cast<double>(limit.total_bytes)), format_bytes(static_cast<double>(weights))));
    const auto sizing = size_kv_cache(flags, *source, *described);
    if (sizing.ok()) {
      const auto per_token = [&](size_t block_bytes) { return format_bytes(static_cast<double>(block_bytes) / sizing->block_tokens); };
      row("KV per token", per_token(sizing->block_bytes - sizing->page_bytes) +
                              (sizing->page_bytes > 0 ? ", and " + per_token(sizing->page_bytes) + " in layers that read the last tokens only" : ""));
      row("", sizing->note);
    } else {
      row("", sizing.error().message);
    }
  }
  if (metadata) {
    print("\n");
    for (const auto& [key, value] : source->metadata().values()) {
      std::string text = std::visit(
          [](const auto& v) -> std::string {
            using T = std::decay_t<decltype(v)>;
            if constexpr (std::is_same_v<T, std::string>)
              return printable(beginning(v));
            else if constexpr (requires { v.size(); })
              return fmt::format("array of {}", v.size());
            else
              return fmt::format("{}", v);
          },
          value);
      print(fmt::format("{:<44} {}\n", printable(key), text));
    }
  }
  if (tensors) {
    print("\n");
    for (const TensorInfo& t : source->tensors())
      print(fmt::format("{:<44} {:<7} {:<20} {:>12}\n", printable(t.name), dtype_name(t.dtype), t.shape.text(),
                        format_bytes(static_cast<double>(t.size_bytes))));
  }
  return 0;
}

}  // namespace sluice
