// BERT, and RoBERTa and XLM-R, which are BERT trained otherwise: every token sees every other, positions and token types are tables, and norms
// stand after the sums. RoBERTa's positions begin behind the padding token's row.
// Devlin et al. 2019, "BERT"; Liu et al. 2019, "RoBERTa"; Conneau et al. 2020, "Unsupervised cross-lingual representation learning at scale".

#include "model/layers/encoder_model.h"
#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr ConfigKey kTypes{"type_vocab_size", ""};
constexpr ConfigKey kAct{"hidden_act", "hidden_activation"};
constexpr ConfigKey kPadding{"pad_token_id", ""};

TensorNames names(const std::string& prefix, int64_t positions, int64_t before = 0) {
  const auto outer = [&](std::string_view rest) { return Place{prefix + "." + std::string(rest)}; };
  const auto layer = [&](std::string_view rest) { return Place{prefix + ".encoder.layer.{}." + std::string(rest)}; };
  TensorNames out;
  out.hf("token_embd", outer("embeddings.word_embeddings"))
      .hf("position_embd.weight", {.name = prefix + ".embeddings.position_embeddings.weight", .rows = {before}, .of_rows = before + positions, .rest_unread = true})
      .hf("position_ids", outer("embeddings.position_ids"))
      .hf("token_types", outer("embeddings.token_type_embeddings"))
      .hf("token_embd_norm", outer("embeddings.LayerNorm"))
      .hf("attn_q", layer("attention.self.query"))
      .hf("attn_k", layer("attention.self.key"))
      .hf("attn_v", layer("attention.self.value"))
      .hf("attn_output", layer("attention.output.dense"))
      .hf("attn_output_norm", layer("attention.output.LayerNorm"))
      .hf("ffn_up", layer("intermediate.dense"))
      .hf("ffn_down", layer("output.dense"))
      .hf("layer_output_norm", layer("output.LayerNorm"))
      .hf("pooler", outer("pooler.dense"));
  out.optional_prefixes = {prefix + "."};
  return out;
}

Result<EncoderParts> read_bert(const ConfigReader& config, const TensorSource& source, std::string_view name) {
  // llama.cpp's converter does not name it; nearly all were trained with the exact one.
  DecoderDefaults defaults{.name = name, .gguf = {"bert"}, .norm = Norm::Kind::layer, .norm_eps = 1e-12, .rope = false, .tied = true,
                           .computes = {"hidden_act", "gguf.hidden_activation", "gguf.attention.causal"}};
  defaults.keys.norm_eps = {"layer_norm_eps", "attention.layer_norm_epsilon"};
  SLUICE_TRY_STATUS(config.only({"position_embedding_type", ""}, std::string("absolute")));
  SLUICE_TRY_STATUS(config.only({"is_decoder", ""}, false));
  SLUICE_TRY_STATUS(config.only({"", "attention.causal"}, false));
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  SLUICE_TRY(d.mlp.act, read_activation(config, kAct, "gelu"));
  d.mlp.gated = false;
  d.mlp.bias = Presence::required;
  d.attention.qkv_bias = d.attention.output_bias = Presence::required;
  d.attention.causal = false;
  EncoderParts parts;
  parts.body = d.build();
  Decoder& body = parts.body;
  const auto norm = [&](std::string_view key) { return NormLayer(key, d.config.norm, d.config.info.hidden); };
  for (DecoderLayer& layer : body.layers) {
    layer.mixer_norm = layer.ffn_norm = NormLayer();
    layer.sum_norm = norm("attn_output_norm");
    layer.final_sum_norm = norm("layer_output_norm");
  }
  body.embedding_norm = norm("token_embd_norm");
  body.final_norm = NormLayer();
  if (config.is_gguf()) {
    const TensorInfo* types = source.find("token_types.weight");
    body.token_types = types != nullptr && types->shape.rank == 2 ? types->shape[0] : 0;
    config.note(kTypes, body.token_types);
    config.cannot_be_said(body.token_types == 0, "it has no token types");
  } else {
    SLUICE_TRY(body.token_types, config.integer_or(kTypes, 2, 1, kMaxVocab));
  }
  return parts;
}

Result<EncoderParts> roberta(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(EncoderParts parts, read_bert(config, source, "roberta"));
  ModelInfo& info = parts.body.config.info;
  const bool gguf = config.is_gguf();
  SLUICE_TRY(const int64_t padding, gguf ? Result<int64_t>(config.metadata().integer_or("tokenizer.ggml.padding_token_id", 1))
                                         : config.integer_or(kPadding, 1, 0, kMaxVocab));
  if (gguf && (padding < 0 || padding >= info.vocab_size))
    return corrupt_data(fmt::format("{}: tokenizer.ggml.padding_token_id is {}, which is no token", config.metadata().origin(), padding));
  // A GGUF has only the rows of positions that texts have.
  const int64_t before = padding + 1, all = gguf ? info.max_positions + before : info.max_positions;
  info.max_positions = parts.body.learned_positions = all - before;
  if (info.max_positions < 1) return config.invalid({"max_position_embeddings", ""}, fmt::format("leaves no position behind that of pad_token_id, {}", padding));
  config.note({"max_position_embeddings", ""}, all);
  config.note({"", "context_length"}, info.max_positions);
  config.note(kPadding, padding);
  parts.body.names = names("roberta", info.max_positions, before);
  parts.body.names.hf("cls", {"classifier.dense"}).hf("cls.output", {"classifier.out_proj"});
  if (!gguf) parts.classifier.dense = Presence::required;
  parts.pair_separators = 2;
  if (gguf && config.metadata().string_or("tokenizer.ggml.model", "") == "t5") parts.body.config.hf_architecture = "XLMRobertaModel";
  return parts;
}

// A GGUF of this name is of any of them; RoBERTa's have one token type, or none, and no vocabulary of BERT's kind. With two types it is the same
// model as a BERT: there its table of positions begins at row 0 too.
Result<EncoderParts> bert(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(EncoderParts parts, read_bert(config, source, "bert"));
  if (config.is_gguf() && parts.body.token_types < 2 && config.metadata().string_or("tokenizer.ggml.model", "") != "bert") return roberta(config, source);
  parts.body.learned_positions = parts.body.config.info.max_positions;
  parts.body.names = names("bert", parts.body.learned_positions);
  parts.body.names.hf("cls", {"bert.pooler.dense"}).hf("cls.output", {"classifier"});
  return parts;
}

}  // namespace

ModelArch bert_arch() { return encoder_arch<bert>("bert", {"BertModel", "BertForSequenceClassification", "BertForMaskedLM"}, {"bert"}); }
ModelArch roberta_arch() {
  return encoder_arch<roberta>("roberta",
                               {"RobertaModel", "RobertaForSequenceClassification", "RobertaForMaskedLM", "XLMRobertaModel",
                                "XLMRobertaForSequenceClassification", "XLMRobertaForMaskedLM"},
                               {});
}

}  // namespace sluice
