// RWKV 4, 5, 6 and 7: blocks of a time mix and a channel mix, both of rows blended with the row before.
// Peng et al. 2023, "RWKV: reinventing RNNs for the transformer era"; 2024, "Eagle and Finch"; 2025, "RWKV-7 Goose".

#include <algorithm>
#include <cmath>

#include "model/layers/decoder_model.h"
#include "model/layers/rwkv4.h"
#include "model/layers/rwkv6.h"
#include "model/layers/rwkv7.h"

namespace sluice {
namespace {

constexpr ConfigKey kHeadSize{"head_size", "wkv.head_size"}, kFfn{"intermediate_size", "feed_forward_length"};
constexpr ConfigKey kFlaHeadSize{"head_dim", ""}, kFlaEps{"norm_eps", ""}, kFlaAct{"hidden_act", ""};
constexpr ConfigKey kHeadNormEps{"", "attention.group_norm_epsilon"};
// RWKV 5's and 6's own code halves in float16 and bfloat16 alone, whatever their config.json says.
constexpr ConfigKey kRescale{"", "rescale_every_n_layers"}, kRescale4{"rescale_every", ""};

/// What files of an RWKV call its parts.
struct Dialect {
  std::string embedding, first_norm, block, time, channel, last_norm, head = "head";
  std::string time_norm = "ln1", channel_norm = "ln2", head_norm = "ln_x";
  bool long_names = false;   // time_mix_key rather than time_mix_k
  bool projections = false;  // r_proj rather than receptance
};

Dialect authors() { return {"emb", "blocks.0.ln0", "blocks.{}", "att", "ffn", "ln_out"}; }
Dialect transformers(bool long_names) {
  Dialect d{"rwkv.embeddings", "rwkv.blocks.0.pre_ln", "rwkv.blocks.{}", "attention", "feed_forward", "rwkv.ln_out"};
  d.long_names = long_names;
  return d;
}
/// github.com/fla-org/flash-linear-attention
Dialect fla() {
  Dialect d{"model.embeddings", "model.layers.0.pre_norm", "model.layers.{}", "attn", "ffn", "model.norm", "lm_head"};
  d.time_norm = "attn_norm", d.channel_norm = "ffn_norm", d.head_norm = "g_norm";
  d.projections = true;
  return d;
}

struct Rwkv {
  const ConfigReader& config;
  const TensorSource& source;
  Decoder out;
  Dialect dialect;
  int64_t hidden = 0, ffn = 0;
  int64_t halved_every = 0;  // blocks; 0 or less: never
  float last_eps = 0;        // of the last norm

  std::string time(std::string_view name) const { return fmt::format("{}.{}.{}", dialect.block, dialect.time, name); }
  std::string channel(std::string_view name) const { return fmt::format("{}.{}.{}", dialect.block, dialect.channel, name); }
  /// The dimension of a tensor of some block; missing tensors are an error.
  Result<int64_t> dim(std::string name, int which, int block = 0) const {
    if (const size_t at = name.find("{}"); at != std::string::npos) name.replace(at, 2, std::to_string(block));
    const TensorInfo* info = source.find(name);
    if (info == nullptr) return not_found(fmt::format("{}: tensor {} is missing", config.metadata().origin(), name));
    if (info->shape.rank <= which || info->shape[which] < 1 || info->shape[which] > kMaxWidth * 4)
      return corrupt_data(fmt::format("{}: tensor {} has shape {}", config.metadata().origin(), name, info->shape.text()));
    return info->shape[which];
  }
};

Result<Rwkv> read_rwkv(const ConfigReader& config, const TensorSource& source, std::string_view name, int version) {
  DecoderDefaults defaults{.name = name, .gguf = {version < 5 ? std::string_view() : name}, .norm = Norm::Kind::layer, .norm_eps = 1e-5, .no_heads = true, .own_ffn = true,
                           .positions = 1 << 20};
  defaults.keys.norm_eps = {"layer_norm_epsilon", "attention.layer_norm_epsilon"};
  defaults.keys.positions = {"", "context_length"};
  Rwkv r{config, source, {}, source.find("emb.weight") != nullptr ? authors() : transformers(version < 6)};
  if (version == 7 && config.has(kFlaEps)) {
    r.dialect = fla();
    defaults.keys.norm_eps.hf = kFlaEps.hf;
    defaults.computes = {kFlaAct.hf};
    SLUICE_TRY_STATUS(config.only(kFlaAct, std::string("sqrelu")));
    for (const char* key : {"norm_first", "norm_bias"}) SLUICE_TRY_STATUS(config.only({key, ""}, true));
    if (const ConfigKey hybrid{"attn.layers", ""}; config.has(hybrid)) return config.refused(hybrid, "names layers of attention, which are not read");
  }
  SLUICE_TRY(r.out.config, read_decoder_config(config, source, defaults));
  r.hidden = r.out.config.info.hidden;
  SLUICE_TRY(r.ffn, r.dim(config.is_gguf() ? "blk.{}.channel_mix_key.weight" : r.channel("key.weight"), 0));
  r.out.config.info.ffn = r.ffn;
  config.note(kFfn, r.ffn);
  r.last_eps = version == 4 ? 1e-5f : r.out.config.norm.eps;  // RWKV 4: whatever the others' is
  if (version == 4) {
    SLUICE_TRY(r.halved_every, config.integer_or(kRescale4, 6, INT32_MIN, INT32_MAX));
  } else {
    SLUICE_TRY(r.halved_every, config.integer_or(kRescale, 0, 0, kMaxLayers));
  }
  TensorNames& names = r.out.names = TensorNames();
  const std::string& block = r.dialect.block;
  names.hf("token_embd", {r.dialect.embedding})
      .hf("token_embd_norm", {r.dialect.first_norm})
      .hf("attn_norm", {block + "." + r.dialect.time_norm})
      .hf("attn_norm_2", {block + "." + r.dialect.channel_norm})
      .hf("output_norm", {r.dialect.last_norm})
      .hf("output", {r.dialect.head});
  for (const auto& [part, letter] : {std::pair{"key", 'k'}, {"value", 'v'}, {"receptance", 'r'}, {"gate", 'g'}, {"output", 'o'}})
    names.hf(fmt::format("time_mix_{}", part), {r.time(r.dialect.projections ? fmt::format("{}_proj", letter) : part)});
  for (const char* part : {"key", "value", "receptance"}) names.hf(fmt::format("channel_mix_{}", part), {r.channel(part)});
  names.hf("time_mix_ln", {r.time(r.dialect.head_norm)});
  return r;
}

/// Blends `letters` of the time mix, whose tensors are `prefix` and a letter, and `channel_letters` of the channel mix.
void name_blends(Rwkv& r, std::string_view prefix, std::string_view letters, std::string_view channel_letters) {
  const auto spelled = [&](char letter) -> std::string {
    if (!r.dialect.long_names) return {letter};
    return letter == 'k' ? "key" : letter == 'v' ? "value" : letter == 'r' ? "receptance" : "gate";
  };
  const Shape shape{1, 1, r.hidden};
  for (const char c : letters)
    r.out.names.hf(fmt::format("time_mix_lerp_{}.weight", c), {.name = r.time(fmt::format("{}{}", prefix, spelled(c))), .shape = shape});
  for (const char c : channel_letters)
    r.out.names.hf(fmt::format("channel_mix_lerp_{}.weight", c), {.name = r.channel(fmt::format("{}{}", prefix, spelled(c))), .shape = shape});
}

/// A GGUF has those of the time mix in one tensor.
void fuse_blends(Rwkv& r, std::string_view letters) {
  const auto count = static_cast<int64_t>(letters.size());
  for (int64_t i = 0; i < count; ++i)
    r.out.names.gguf[fmt::format("time_mix_lerp_{}.weight", letters[static_cast<size_t>(i)])] = {
        .name = "time_mix_lerp_fused.weight", .rows = {i * r.hidden}, .shape = {count, 1, 1, r.hidden}};
}

/// Two layers for each block: its time mix and its channel mix.
/// For the range of float16, rows are halved after every so many blocks and what a block adds is divided as often: by transformers once the
/// weights are loaded, in a GGUF already. Here rows stay whole, and a norm of what would be 2^n smaller has an epsilon 4^n times as great.
Decoder build(Rwkv r, const ChannelMixConfig& channel, const std::function<std::unique_ptr<Mixer>(int block)>& time) {
  const DecoderConfig& d = r.out.config;
  const auto halvings = [&](int block) { return r.halved_every > 0 ? static_cast<int>(std::min<int64_t>(block / r.halved_every, 60)) : 0; };
  const auto norm = [&](std::string_view key, float eps, int block) {
    NormStyle style = d.norm;
    style.eps = std::ldexp(eps, 2 * halvings(block));
    return NormLayer(key, style, r.hidden);
  };
  r.out.embedding_norm = norm("token_embd_norm", d.norm.eps, 0);
  r.out.final_norm = norm("output_norm", r.last_eps, d.info.layers);
  for (int block = 0; block < d.info.layers; ++block)
    for (const bool first : {true, false}) {
      DecoderLayer& layer = r.out.layers.emplace_back();
      layer.block = block;
      layer.mixer_norm = norm(first ? "attn_norm" : "attn_norm_2", d.norm.eps, block);
      layer.mixer = first ? time(block) : std::make_unique<ChannelMix>(channel);
      if (r.config.is_gguf()) layer.residual_scale = std::ldexp(1.0f, halvings(block));
    }
  return std::move(r.out);
}

Result<int64_t> read_head_size(const Rwkv& r) {
  const ConfigKey key = r.dialect.projections ? ConfigKey{kFlaHeadSize.hf, kHeadSize.gguf} : kHeadSize;
  SLUICE_TRY(const int64_t size, r.config.integer_or(key, 64, 1, kMaxHeadDim));
  if (r.hidden % size != 0) return r.config.invalid(key, fmt::format("is {}; it must divide the width, {}", size, r.hidden));
  return size;
}

Result<Decoder> describe4(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(Rwkv r, read_rwkv(config, source, "rwkv4", 4));
  SLUICE_TRY(const int64_t width, r.dim(r.time("key.weight"), 0));
  name_blends(r, "time_mix_", "kvr", "kr");
  r.out.names.hf("time_mix_decay.weight", {r.time("time_decay")}).hf("time_mix_first.weight", {r.time("time_first")});
  const int64_t hidden = r.hidden, ffn = r.ffn;
  return build(std::move(r), {hidden, ffn, true, true}, [=](int) { return std::make_unique<TimeMix4>(hidden, width); });
}

Result<Decoder> describe5(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(Rwkv r, read_rwkv(config, source, "rwkv5", 5));
  SLUICE_TRY(const int64_t size, read_head_size(r));
  TimeMix6Config time{.hidden = r.hidden, .head_size = size};
  SLUICE_TRY(const double eps, config.number_or(kHeadNormEps, 64e-5, 1e-12, 1.0));
  time.head_norm_eps = static_cast<float>(eps);
  name_blends(r, "time_mix_", "kvrg", "kr");
  const Shape by_head{time.heads(), size};
  r.out.names.hf("time_mix_decay.weight", {.name = r.time("time_decay"), .shape = by_head})
      .hf("time_mix_first.weight", {.name = r.time("time_faaaa"), .shape = by_head});
  const ChannelMixConfig channel{r.hidden, r.ffn, true, true};
  return build(std::move(r), channel, [=](int) { return std::make_unique<TimeMix6>(time); });
}

Result<Decoder> describe6(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(Rwkv r, read_rwkv(config, source, "rwkv6", 6));
  SLUICE_TRY(const int64_t size, read_head_size(r));
  TimeMix6Config time{.hidden = r.hidden, .head_size = size};
  const bool gguf = config.is_gguf();
  SLUICE_TRY(time.blend_rank, r.dim(gguf ? "blk.{}.time_mix_w2.weight" : r.time("time_maa_w2"), gguf ? 2 : 1));
  SLUICE_TRY(time.decay_rank, r.dim(gguf ? "blk.{}.time_mix_decay_w1.weight" : r.time("time_decay_w1"), gguf ? 0 : 1));
  if (!gguf) config.note({"", "time_mix_extra_dim"}, time.blend_rank), config.note({"", "time_decay_extra_dim"}, time.decay_rank);
  name_blends(r, "time_maa_", "wkvrgx", "kr");
  fuse_blends(r, "wkvrg");
  TensorNames& names = r.out.names;
  const Shape by_head{time.heads(), size};
  names.hf("time_mix_decay.weight", {.name = r.time("time_decay"), .shape = {1, 1, r.hidden}})
      .hf("time_mix_first.weight", {.name = r.time("time_faaaa"), .shape = by_head})
      .hf("time_mix_decay_w1.weight", {.name = r.time("time_decay_w1"), .transposed = true})
      .hf("time_mix_decay_w2.weight", {.name = r.time("time_decay_w2"), .transposed = true})
      .hf("time_mix_w2.weight", {.name = r.time("time_maa_w2"), .transposed = true});
  names.gguf["time_mix_first.weight"] = {.name = "time_mix_first.weight", .shape = by_head};
  for (int64_t i = 0; i < 5; ++i) {
    const std::string key = fmt::format("time_mix_w1_{}.weight", "wkvrg"[i]);
    const int64_t first = i * time.blend_rank, all = 5 * time.blend_rank;
    names.hf(key, {.name = r.time("time_maa_w1"), .rows = {first}, .of_rows = all, .transposed = true});
    names.gguf[key] = {.name = "time_mix_w1.weight", .rows = {first}, .of_rows = all};
  }
  const ChannelMixConfig channel{r.hidden, r.ffn, true, false};
  return build(std::move(r), channel, [=](int) { return std::make_unique<TimeMix6>(time); });
}

Result<Decoder> describe7(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(Rwkv r, read_rwkv(config, source, "rwkv7", 7));
  SLUICE_TRY(const int64_t size, read_head_size(r));
  TimeMix7Config time;
  time.hidden = r.hidden, time.head_size = size;
  const bool from_fla = r.dialect.projections;
  if (from_fla) {
    const float trained = time.head_norm_eps;
    time.head_norm_eps = static_cast<float>(size) * r.out.config.norm.eps;
    config.cannot_be_said(std::abs(time.head_norm_eps - trained) > 1e-9f, fmt::format("heads of {} are normed with an epsilon of {}", size, time.head_norm_eps));
  }
  const int last = r.out.config.info.layers - 1;  // the first block has no value product, or one for show
  TensorNames& names = r.out.names;
  for (const auto& [letter, rank, note] : {std::tuple{'w', &time.decay_rank, "attention.decay_lora_rank"},
                                           {'a', &time.rate_rank, "attention.iclr_lora_rank"},
                                           {'v', &time.value_rank, "attention.value_residual_mix_lora_rank"},
                                           {'g', &time.gate_rank, "attention.gate_lora_rank"}}) {
    const auto own = [&, letter = letter](char number) { return fmt::format("{}{}", letter, number); };
    const auto name = [&, letter = letter](char number) {
      return r.time(!from_fla ? own(number) : fmt::format("{}_lora.lora.{}", letter, number == '1' ? "0.weight" : number == '2' ? "2.weight" : "2.bias"));
    };
    if (letter != 'v' || last > 0) {
      SLUICE_TRY(*rank, r.dim(config.is_gguf() ? fmt::format("blk.{{}}.time_mix_{}.weight", own('1')) : name('1'), config.is_gguf() || from_fla ? 0 : 1, last));
      if (!config.is_gguf()) config.note({"", note}, *rank);
    }
    for (const char number : {'1', '2'})
      names.hf(fmt::format("time_mix_{}.weight", own(number)), {.name = name(number), .transposed = !from_fla});
    names.hf(fmt::format("time_mix_{}.weight", own('0')), {.name = name('0'), .shape = {1, 1, r.hidden}});
  }
  name_blends(r, "x_", "rwkvag", "k");
  fuse_blends(r, "rwkvag");
  if (source.find("model.layers.0.attn.x_x") != nullptr)  // the first of fla's files
    for (int64_t i = 0; i < 6; ++i)
      names.hf(fmt::format("time_mix_lerp_{}.weight", "rwkvag"[i]), {.name = r.time("x_x"), .rows = {i * r.hidden}, .shape = {6, r.hidden}});
  for (const char* key : {"k_k", "k_a"}) names.hf(fmt::format("time_mix_{}.weight", key), {.name = r.time(key), .shape = {1, 1, r.hidden}});
  names.hf("time_mix_r_k.weight", {.name = r.time("r_k"), .shape = {time.heads(), size}});
  time.first_values = std::make_shared<std::vector<float>>();
  const ChannelMixConfig channel{r.hidden, r.ffn, false, false};
  return build(std::move(r), channel, [time](int block) {
    TimeMix7Config own = time;
    own.first = block == 0;
    return std::make_unique<TimeMix7>(own);
  });
}

}  // namespace

ModelArch rwkv4_arch() { return decoder_arch<describe4>("rwkv4", {"RwkvForCausalLM"}, {}); }
ModelArch rwkv5_arch() { return decoder_arch<describe5>("rwkv5", {"Rwkv5ForCausalLM"}, {"rwkv5"}); }
ModelArch rwkv6_arch() { return decoder_arch<describe6>("rwkv6", {"Rwkv6ForCausalLM"}, {"rwkv6"}); }
ModelArch rwkv7_arch() { return decoder_arch<describe7>("rwkv7", {"RWKV7ForCausalLM"}, {"rwkv7"}); }

}  // namespace sluice
