"""Baichuan 7B (rope) and Baichuan2 13B (ALiBi, normalized head), after the authors' modeling_baichuan.py."""
import math

import torch
from torch import nn
from torch.nn import functional

from fidelity.authored.parts import Authored, RmsNorm, angles, causal_attention, rotate_halves


def alibi_slopes(heads):
    """The paper's: a geometric series for a power of two, and every second of the next one's for the heads beyond."""
    whole = 2 ** math.floor(math.log2(heads))
    first = [2 ** (-8 * (i + 1) / whole) for i in range(whole)]
    more = [2 ** (-8 * (i + 1) / (2 * whole)) for i in range(0, 2 * (heads - whole), 2)]
    return torch.tensor(first + more)


class Attention(nn.Module):
    """W_pack: the rows of Q, then K, then V."""

    def __init__(self, config, alibi):
        super().__init__()
        self.config, self.alibi = config, alibi
        self.W_pack = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x):
        heads, n = self.config.num_attention_heads, x.shape[1]
        size = self.config.hidden_size // heads
        q, k, v = (t.view(1, n, heads, size).transpose(1, 2) for t in self.W_pack(x).chunk(3, -1))
        bias = 0.0
        if self.alibi is None:
            angle = angles(n, size, getattr(self.config, "rope_theta", 10000.0), x.dtype)
            q, k = rotate_halves(q, angle), rotate_halves(k, angle)
        else:
            bias = self.alibi.to(x.dtype)[None, :, None, None] * torch.arange(n, dtype=x.dtype)
        return self.o_proj(causal_attention(q, k, v, size ** -0.5, bias).transpose(1, 2).reshape(1, n, -1))


class Ffn(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.act = getattr(functional, config.hidden_act)
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x):
        return self.down_proj(self.act(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config, attention):
        super().__init__()
        self.self_attn, self.mlp = attention, Ffn(config)
        self.input_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x, scale=1.0):
        x = x + self.self_attn(self.input_layernorm(x)) * scale
        return x + self.mlp(self.post_attention_layernorm(x)) * scale


class Baichuan(Authored):
    """Baichuan after the authors' modeling_baichuan.py; transformers has no such class.

    The published 13B configs have model_max_length where the 7B ones have max_position_embeddings: that tells them apart.
    """

    def __init__(self, config):
        super().__init__(config)
        large = hasattr(config, "model_max_length")
        slopes = alibi_slopes(config.num_attention_heads) if large else None
        if large and not getattr(config, "alibi", True):
            slopes = torch.zeros_like(slopes)
        self.normalized_head = large and getattr(config, "normalized_head", True)
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.model.layers = nn.ModuleList(
            Layer(config, Attention(config, slopes)) for _ in range(config.num_hidden_layers))
        self.model.norm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def get_output_embeddings(self):
        return self.lm_head

    def logits(self, ids):
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x)
        head = functional.normalize(self.lm_head.weight) if self.normalized_head else self.lm_head.weight
        return self.model.norm(x) @ head.T
