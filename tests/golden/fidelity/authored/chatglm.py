"""ChatGLM2, ChatGLM3 and GLM-4 as first published (modeling_chatglm.py of the THUDM repositories)."""
import torch
from torch import nn
from torch.nn import functional

from fidelity.authored.parts import Authored, RmsNorm, angles, causal_attention, rotate_halves, rotate_pairs


class Attention(nn.Module):
    """query_key_value: all query heads, then the key groups, then the value groups. Half of each head turns, in pairs."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        size, groups = config.kv_channels, config.multi_query_group_num
        self.query_key_value = nn.Linear(config.hidden_size, (config.num_attention_heads + 2 * groups) * size,
                                         bias=config.add_qkv_bias)
        self.dense = nn.Linear(config.num_attention_heads * size, config.hidden_size, bias=False)

    def forward(self, x):
        config, n = self.config, x.shape[1]
        heads, groups, size = config.num_attention_heads, config.multi_query_group_num, config.kv_channels
        q, k, v = self.query_key_value(x).split([heads * size, groups * size, groups * size], -1)
        q, k, v = (t.view(1, n, -1, size).transpose(1, 2) for t in (q, k, v))
        turned = int(size * getattr(config, "rotary_share", 0.5))
        angle = angles(n, turned, 10000.0 * config.rope_ratio, x.dtype)
        turn = rotate_halves if getattr(config, "rope_in_halves", False) else rotate_pairs
        q, k = (torch.cat([turn(t[..., :turned], angle), t[..., turned:]], -1) for t in (q, k))
        return self.dense(causal_attention(q, k, v, size ** -0.5).transpose(1, 2).reshape(1, n, -1))


class Ffn(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.up_first = getattr(config, "up_first", False)
        self.act = getattr(functional, getattr(config, "activation", "silu"))
        self.dense_h_to_4h = nn.Linear(config.hidden_size, 2 * config.ffn_hidden_size, bias=False)
        self.dense_4h_to_h = nn.Linear(config.ffn_hidden_size, config.hidden_size, bias=False)

    def forward(self, x):
        gate, up = self.dense_h_to_4h(x).chunk(2, -1)
        if self.up_first:
            gate, up = up, gate
        return self.dense_4h_to_h(self.act(gate) * up)


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.input_layernorm = RmsNorm(config.hidden_size, config.layernorm_epsilon)
        self.self_attention = Attention(config)
        self.post_attention_layernorm = RmsNorm(config.hidden_size, config.layernorm_epsilon)
        self.mlp = Ffn(config)

    def forward(self, x):
        x = x + self.self_attention(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class ChatGLM(Authored):
    """ChatGLM after the authors' modeling_chatglm.py; transformers has no such class."""

    def __init__(self, config):
        super().__init__(config)
        self.transformer = nn.Module()
        self.transformer.embedding = nn.Module()
        self.transformer.embedding.word_embeddings = nn.Embedding(config.padded_vocab_size, config.hidden_size)
        self.transformer.encoder = nn.Module()
        self.transformer.encoder.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.transformer.encoder.final_layernorm = RmsNorm(config.hidden_size, config.layernorm_epsilon)
        self.transformer.output_layer = nn.Linear(config.hidden_size, config.padded_vocab_size, bias=False)

    def get_output_embeddings(self):
        return self.transformer.output_layer

    def logits(self, ids):
        x = self.transformer.embedding.word_embeddings(ids)
        for layer in self.transformer.encoder.layers:
            x = layer(x)
        return self.transformer.output_layer(self.transformer.encoder.final_layernorm(x))
