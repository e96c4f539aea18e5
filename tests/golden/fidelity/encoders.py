"""Encoders, embedding models and rerankers."""
import torch

from fidelity.encoder import EncoderSpec
from fidelity.faults import fill
from fidelity.spec import rope

BERT = dict(hidden_size=36, num_hidden_layers=2, num_attention_heads=3, intermediate_size=60, vocab_size=83,
            max_position_embeddings=64, type_vocab_size=2, layer_norm_eps=1e-2, pad_token_id=0, hidden_act="gelu")
ROBERTA = dict(BERT, pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1, max_position_embeddings=66)


def causal(model):
    """Each token sees the earlier ones only."""
    def wrong(config, inputs_embeds, attention_mask=None, **kwargs):
        n = inputs_embeds.shape[1]
        return torch.full((n, n), float("-inf")).triu(1)[None, None].to(inputs_embeds)
    import sys
    module = sys.modules[type(model).__module__]
    inner = model
    right = inner.forward

    def forward(*args, **kwargs):
        names = [n for n in ("create_bidirectional_mask", "create_bidirectional_sliding_window_mask") if hasattr(module, n)]
        real = {n: getattr(module, n) for n in names}
        for n in names:
            setattr(module, n, wrong)
        try:
            return right(*args, **kwargs)
        finally:
            for n in names:
                setattr(module, n, real[n])
    model.forward = forward


def positions_from_zero(model):
    """RoBERTa's positions from row 0 instead of the row after the padding's."""
    table = next(m for n, m in model.named_modules() if n.endswith("position_embeddings"))
    offset = table.padding_idx + 1
    table.weight.copy_(table.weight.roll(offset, 0))


FAULTS = {"norm epsilon x10": {"layer_norm_eps": 0.1}, "activation relu": {"hidden_act": "relu"}, "attention is causal": causal,
          "no positions": fill("position_embeddings", 0.0), "no token types": fill("token_type_embeddings", 0.0),
          "no biases": fill(("dense.bias", "query.bias", "key.bias", "value.bias"), 0.0),
          "embedding norm left out": lambda model: setattr(
              next(m for n, m in model.named_modules() if n.endswith("embeddings.LayerNorm")), "forward", lambda x: x)}
ROBERTA_FAULTS = {**FAULTS, "positions from 0": positions_from_zero}
MODERN = dict(hidden_size=30, num_hidden_layers=4, num_attention_heads=3, intermediate_size=34, vocab_size=83,
              max_position_embeddings=64, norm_eps=1e-2, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1,
              sep_token_id=2, local_attention=8, hidden_activation="gelu",
              rope_parameters={"full_attention": rope(160000.0), "sliding_attention": rope(10000.0)})
QWEN3 = dict(hidden_size=36, intermediate_size=50, num_attention_heads=3, num_key_value_heads=1, head_dim=14, vocab_size=83,
             num_hidden_layers=2, rms_norm_eps=1e-2, tie_word_embeddings=True, use_sliding_window=False, attention_bias=False,
             rope_parameters=rope(1000000.0))
QWEN3_FAULTS = {"norm epsilon x10": {"rms_norm_eps": 0.1}, "activation gelu": {"hidden_act": "gelu"},
                "rope base x1.2": {"rope_parameters.rope_theta": 1200000.0},
                "QK-norm gains left out": fill(("q_norm", "k_norm"), 1.0)}


def classifier_score(out, _facts):
    return out.logits[0, 0]


def yes_or_no(out, facts):
    """The probability of "yes" against "no" as the next token."""
    last = out.logits[0, -1]
    return torch.softmax(last[[facts["no_id"], facts["yes_id"]]], 0)[1]


MODELS = {
    "bert": EncoderSpec("BertConfig", BERT, FAULTS, model="BertModel", pooling="mean"),
    "bert_cls": EncoderSpec("BertConfig", dict(BERT, num_attention_heads=4, hidden_size=32, hidden_act="gelu_new"), FAULTS,
                            "bfloat16", model="BertModel", pooling="cls", gguf="bf16",
                            gguf_note="the file does not name the activation; llama.cpp's GELU is the tanh form here too"),
    "roberta": EncoderSpec("RobertaConfig", ROBERTA, ROBERTA_FAULTS, model="RobertaModel", pooling="mean", first=0),
    "xlm_roberta": EncoderSpec("XLMRobertaConfig", ROBERTA, ROBERTA_FAULTS, "bfloat16", model="XLMRobertaModel",
                               pooling="cls", first=0, gguf="bf16"),
    "xlm_roberta_reranker": EncoderSpec(
        "XLMRobertaConfig", dict(ROBERTA, num_labels=1), {
            **ROBERTA_FAULTS, "classifier's bias left out": fill("out_proj.bias", 0.0)}, model="XLMRobertaForSequenceClassification",
        score=classifier_score, first=0, published={"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}},
        facts={"score": "the classifier's one logit: out_proj(tanh(dense(first token)))"}),
    "modernbert": EncoderSpec("ModernBertConfig", MODERN, {
        "norm epsilon x10": {"norm_eps": 0.1}, "activation relu": {"hidden_activation": "relu"},
        "rope bases swapped": {"rope_parameters.full_attention.rope_theta": 10000.0,
                               "rope_parameters.sliding_attention.rope_theta": 160000.0},
        "no windows": {"local_attention": 128}, "window + 2": {"local_attention": 10},
        "attention is causal": causal}, "bfloat16", model="ModernBertModel", pooling="cls", gguf="bf16", published={
            "layer_norm_eps": 1e-2, "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0,
            "rope_parameters": ..., "layer_types": ...}, converter={"global_attn_every_n_layers": 3}),
    "qwen3_embedding": EncoderSpec("Qwen3Config", QWEN3, QWEN3_FAULTS, "bfloat16", model="Qwen3Model", pooling="lasttoken",
                                   gguf="bf16", published={"architectures": ["Qwen3ForCausalLM"]}),
    "qwen3_reranker": EncoderSpec("Qwen3Config", QWEN3, QWEN3_FAULTS, model="Qwen3ForCausalLM", score=yes_or_no,
                                  facts={"yes_id": 17, "no_id": 40, "score": "softmax over the logits of no and yes after the last token"},
                                  gguf=None, gguf_note="the converter wants the tokenizer's yes and no"),
}
