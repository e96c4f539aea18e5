#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "quant/weight/weight_format.h"
#include "weights/convert.h"

namespace sluice {
namespace {

struct Config {
  GgufHyperparameters p;
  bool tied = false;
  bool interleave = false;  // llama: GGUF wants q and k rows in interleaved rope order
  std::vector<float> rope_factors;
};

// A tensor's two names (a layer's without "model.layers.N." and "blk.N."), its shape, and which rope rows it has.
enum class RopeRows { none, query, key };
struct Mapping {
  const char* from;
  const char* to;
  Shape shape;
  bool required = true;
  RopeRows rope = RopeRows::none;
};

Result<std::string> family(const Metadata& config) {
  static constexpr std::pair<const char*, const char*> kFamilies[] = {{"LlamaForCausalLM", "llama"},
                                                                      {"MistralForCausalLM", "llama"},
                                                                      {"Qwen2ForCausalLM", "qwen2"},
                                                                      {"Qwen3ForCausalLM", "qwen3"}};
  const std::string name = config.architecture();
  std::string known;
  for (const auto& [from, to] : kFamilies) {
    if (name == from) return std::string(to);
    known += (known.empty() ? "" : ", ") + std::string(from);
  }
  return unsupported(
      fmt::format("{}: architecture \"{}\" cannot be converted; known are {}", config.origin(), name, known));
}

Status read_rope(const Metadata& config, Config& c) {
  const std::string type = config.string_or("rope_scaling.rope_type", "default");
  if (type == "default") return {};
  SLUICE_TRY(const double factor, config.number("rope_scaling.factor"));
  const auto original = config.integer_or("rope_scaling.original_max_position_embeddings", 0);
  auto optional_number = [&](const char* key) {
    const std::string name = std::string("rope_scaling.") + key;
    return config.has(name) ? std::optional(config.number_or(name, 0)) : std::nullopt;
  };
  if (type == "llama3") {
    SLUICE_TRY(const double low, config.number("rope_scaling.low_freq_factor"));
    SLUICE_TRY(const double high, config.number("rope_scaling.high_freq_factor"));
    if (!(factor > 0) || !(low > 0) || !(high > low) || original < 1)
      return corrupt_data(
          fmt::format("{}: rope_scaling of type llama3 needs factor > 0, 0 < low_freq_factor < high_freq_factor "
                      "and original_max_position_embeddings",
                      config.origin()));
    c.rope_factors =
        llama3_rope_factors(c.p.head_dim, c.p.rope_theta, factor, low, high, static_cast<double>(original));
    return {};
  }
  if (type != "linear" && type != "yarn")
    return unsupported(
        fmt::format("{}: rope_scaling of type \"{}\" cannot be converted; known are linear, yarn and llama3",
                    config.origin(), type));
  GgufRopeScaling rope;
  rope.type = type;
  rope.factor = factor;
  rope.original_context = original;
  if (type == "yarn") {
    // GGUF's readers multiply by yarn's own 0.1 ln(factor) + 1; config.json's value replaces it.
    if (const auto attention = optional_number("attention_factor"))
      rope.attention_factor = *attention / (0.1 * std::log(std::max(1.0, factor)) + 1.0);
    rope.beta_fast = optional_number("beta_fast");
    rope.beta_slow = optional_number("beta_slow");
  }
  c.p.rope_scaling = rope;
  return {};
}

Result<Config> read_config(const Metadata& config) {
  Config c;
  GgufHyperparameters& p = c.p;
  SLUICE_TRY(p.arch, family(config));
  SLUICE_TRY(p.layers, config.integer("num_hidden_layers"));
  SLUICE_TRY(p.hidden, config.integer("hidden_size"));
  SLUICE_TRY(p.ffn, config.integer("intermediate_size"));
  SLUICE_TRY(p.heads, config.integer("num_attention_heads"));
  SLUICE_TRY(p.vocab, config.integer("vocab_size"));
  p.context = config.integer_or("max_position_embeddings", 2048);
  p.kv_heads = config.integer_or("num_key_value_heads", p.heads);
  for (const auto& [key, value, most] : {std::tuple("num_hidden_layers", p.layers, 1 << 12),
                                         {"hidden_size", p.hidden, 1 << 20},
                                         {"intermediate_size", p.ffn, 1 << 22},
                                         {"num_attention_heads", p.heads, 1 << 12},
                                         {"vocab_size", p.vocab, 1 << 24},
                                         {"max_position_embeddings", p.context, 1 << 26},
                                         {"num_key_value_heads", p.kv_heads, 1 << 12}})
    if (value < 1 || value > most)
      return corrupt_data(fmt::format("{}: \"{}\" is {}; 1 to {} is possible", config.origin(), key, value, most));
  p.head_dim = config.integer_or("head_dim", p.hidden / p.heads);
  if (p.head_dim < 2 || p.head_dim > (1 << 12) || p.head_dim % 2 != 0 || p.heads % p.kv_heads != 0)
    return corrupt_data(fmt::format("{}: {} heads, {} key-value heads and a head dimension of {} do not go together",
                                    config.origin(), p.heads, p.kv_heads, p.head_dim));
  p.norm_eps = config.number_or("rms_norm_eps", 1e-6);
  p.rope_theta = config.number_or("rope_theta", 10000);
  if (const std::string act = config.string_or("hidden_act", "silu"); act != "silu")
    return unsupported(fmt::format("{}: hidden_act \"{}\"; only silu can be converted", config.origin(), act));
  if (p.arch == "llama") p.sliding_window = config.integer_or("sliding_window", 0);
  else if (config.boolean_or("use_sliding_window", false))
    return unsupported(fmt::format("{}: use_sliding_window has no counterpart in a {} GGUF", config.origin(), p.arch));
  c.tied = config.boolean_or("tie_word_embeddings", false);
  c.interleave = p.arch == "llama";
  SLUICE_TRY_STATUS(read_rope(config, c));
  return c;
}

std::vector<Mapping> model_mappings(const Config& c) {
  const auto& p = c.p;
  std::vector<Mapping> all = {{"model.embed_tokens.weight", "token_embd.weight", {p.vocab, p.hidden}},
                              {"model.norm.weight", "output_norm.weight", {p.hidden}}};
  if (!c.tied) all.push_back({"lm_head.weight", "output.weight", {p.vocab, p.hidden}});
  return all;
}

std::vector<Mapping> layer_mappings(const Config& c) {
  const auto& p = c.p;
  const int64_t q = p.heads * p.head_dim, kv = p.kv_heads * p.head_dim;
  const bool bias = p.arch == "qwen2", norms = p.arch == "qwen3";
  std::vector<Mapping> all = {
      {"input_layernorm.weight", "attn_norm.weight", {p.hidden}},
      {"self_attn.q_proj.weight", "attn_q.weight", {q, p.hidden}, true, RopeRows::query},
      {"self_attn.k_proj.weight", "attn_k.weight", {kv, p.hidden}, true, RopeRows::key},
      {"self_attn.v_proj.weight", "attn_v.weight", {kv, p.hidden}},
      {"self_attn.q_proj.bias", "attn_q.bias", {q}, bias, RopeRows::query},
      {"self_attn.k_proj.bias", "attn_k.bias", {kv}, bias, RopeRows::key},
      {"self_attn.v_proj.bias", "attn_v.bias", {kv}, bias},
      {"self_attn.o_proj.weight", "attn_output.weight", {p.hidden, q}},
      {"self_attn.o_proj.bias", "attn_output.bias", {p.hidden}, false},
      {"post_attention_layernorm.weight", "ffn_norm.weight", {p.hidden}},
      {"mlp.gate_proj.weight", "ffn_gate.weight", {p.ffn, p.hidden}},
      {"mlp.up_proj.weight", "ffn_up.weight", {p.ffn, p.hidden}},
      {"mlp.down_proj.weight", "ffn_down.weight", {p.hidden, p.ffn}},
      {"mlp.gate_proj.bias", "ffn_gate.bias", {p.ffn}, false},
      {"mlp.up_proj.bias", "ffn_up.bias", {p.ffn}, false},
      {"mlp.down_proj.bias", "ffn_down.bias", {p.hidden}, false},
  };
  if (norms) {
    all.push_back({"self_attn.q_norm.weight", "attn_q_norm.weight", {p.head_dim}});
    all.push_back({"self_attn.k_norm.weight", "attn_k_norm.weight", {p.head_dim}});
  }
  return all;
}

// Row r of a head in interleaved order (pairs 2i, 2i + 1) stands at i or i + d/2 in half order.
int64_t half_order_row(int64_t row, int64_t head_dim) {
  const int64_t r = row % head_dim;
  return row - r + r / 2 + r % 2 * (head_dim / 2);
}

class Planner {
 public:
  Planner(std::shared_ptr<TensorSource> source, const Config& config, const QuantRecipe& recipe, GgufPlan& plan)
      : source_(std::move(source)), config_(config), recipe_(recipe), plan_(plan) {}

  Status add(const Mapping& m, const std::string& from_prefix, const std::string& to_prefix) {
    const std::string from = from_prefix + m.from;
    const TensorInfo* info = source_->find(from);
    if (info == nullptr && !m.required) return {};
    if (info == nullptr)
      return not_found(fmt::format("{}: tensor {} {} is missing", source_->metadata().origin(), from, m.shape.text()));
    const std::string place = source_->files()[info->file_index];
    used_.insert(from);
    if (info->shape != m.shape)
      return corrupt_data(fmt::format("{}: tensor {} has shape {}, but the config asks for {}", place, from,
                                      info->shape.text(), m.shape.text()));
    const WeightFormat* format = weight_format(info->dtype);
    if (format == nullptr)
      return unsupported(fmt::format("{}: tensor {} has dtype {}; weights may be F32, F16 or BF16", place, from,
                                     dtype_name(info->dtype)));
    GgufTensor tensor;
    tensor.name = to_prefix + m.to;
    tensor.shape = m.shape;
    tensor.dtype = recipe_dtype(recipe_, {config_.p.layers, config_.tied}, tensor.name, m.shape);
    tensor.fill = rows_of(*info, format, config_.interleave && m.rope != RopeRows::none);
    plan_.tensors.push_back(std::move(tensor));
    return {};
  }

  // What the file holds and nobody took would silently change the model.
  Status expect_all_used() const {
    for (const TensorInfo& info : source_->tensors()) {
      const bool derived =
          info.name.ends_with(".rotary_emb.inv_freq") || (config_.tied && info.name == "lm_head.weight");
      if (!derived && !used_.contains(info.name))
        return unsupported(fmt::format("{}: tensor {} has no place in a {} GGUF", source_->files()[info.file_index],
                                       info.name, config_.p.arch));
    }
    return {};
  }

 private:
  std::function<void(int64_t, int64_t, float*)> rows_of(const TensorInfo& info, const WeightFormat* format,
                                                        bool permuted) {
    // A vector's elements are permuted like the rows of the matrix that it belongs to.
    const int64_t width = info.shape.rank == 1 ? 1 : info.shape[1];
    const int64_t per_row = info.shape.rank == 1 ? info.shape[0] : 1;
    const auto* data = static_cast<const uint8_t*>(source_->view(info).data);
    const size_t width_bytes = row_bytes(info.dtype, width);
    return [source = source_, format, permuted, width, per_row, data, width_bytes, head_dim = config_.p.head_dim](
               int64_t first, int64_t rows, float* out) {
      if (!permuted) {
        format->decode(data + static_cast<size_t>(first * per_row) * width_bytes, out, rows * per_row * width);
        return;
      }
      for (int64_t r = 0; r < rows * per_row; ++r)
        format->decode(data + static_cast<size_t>(half_order_row(first * per_row + r, head_dim)) * width_bytes,
                       out + r * width, width);
    };
  }

  std::shared_ptr<TensorSource> source_;
  const Config& config_;
  const QuantRecipe& recipe_;
  GgufPlan& plan_;
  std::set<std::string, std::less<>> used_;
};

}  // namespace

Result<GgufPlan> plan_huggingface(std::shared_ptr<TensorSource> source, const std::string& name,
                                  const GgufVocab& vocabulary, const QuantRecipe& recipe) {
  const Metadata& metadata = source->metadata();
  if (metadata.kind() != MetadataKind::huggingface)
    return invalid_argument(fmt::format("{}: not a Hugging Face model", metadata.origin()));
  SLUICE_TRY(Config config, read_config(metadata));
  config.p.name = name;
  GgufPlan plan;
  Planner planner(source, config, recipe, plan);
  for (const Mapping& m : model_mappings(config)) SLUICE_TRY_STATUS(planner.add(m, "", ""));
  if (!config.rope_factors.empty()) {
    GgufTensor factors;
    factors.name = "rope_freqs.weight";
    factors.shape = {static_cast<int64_t>(config.rope_factors.size())};
    factors.fill = [values = config.rope_factors](int64_t, int64_t, float* out) {
      std::copy(values.begin(), values.end(), out);
    };
    plan.tensors.push_back(std::move(factors));
  }
  for (int64_t layer = 0; layer < config.p.layers; ++layer)
    for (const Mapping& m : layer_mappings(config))
      SLUICE_TRY_STATUS(planner.add(m, fmt::format("model.layers.{}.", layer), fmt::format("blk.{}.", layer)));
  SLUICE_TRY_STATUS(planner.expect_all_used());
  auto keys = gguf_model_keys(config.p, vocabulary, recipe);
  if (!keys.ok()) return keys.error().in(metadata.origin());
  plan.keys = std::move(keys).value();
  return plan;
}

}  // namespace sluice
