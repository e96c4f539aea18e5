"""MiniCPM (1B, 2B, 4), after the authors' modeling_minicpm.py."""
import math

import torch
from torch import nn

from fidelity.authored.baichuan import Layer
from fidelity.authored.parts import Authored, RmsNorm, angles, causal_attention, rotate_halves


def long_rope(config, positions, angle):
    """MiniCPM 4's: each pair divided by a factor of its own, of the list that the length asks for; and what cos and sin are scaled by."""
    scaling = config.rope_scaling
    original = scaling["original_max_position_embeddings"]
    factors = scaling["long_factor" if positions > original else "short_factor"]
    stretched = config.max_position_embeddings / original
    return angle / torch.tensor(factors, dtype=angle.dtype), math.sqrt(1 + math.log(stretched) / math.log(original))


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, self.size = config, config.hidden_size // config.num_attention_heads
        groups = config.num_key_value_heads * self.size
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, groups, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, groups, bias=False)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x):
        n = x.shape[1]
        q, k, v = (p(x).view(1, n, -1, self.size).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        angle = angles(n, self.size, self.config.rope_theta, x.dtype)
        magnitude = 1.0
        if self.config.rope_scaling:
            angle, magnitude = long_rope(self.config, n, angle)
        mixed = causal_attention(rotate_halves(q, angle) * magnitude, rotate_halves(k, angle) * magnitude, v, self.size ** -0.5)
        return self.o_proj(mixed.transpose(1, 2).reshape(1, n, -1))


class MiniCPM(Authored):
    """MiniCPM after the authors' modeling_minicpm.py; transformers has no such class."""

    def __init__(self, config):
        super().__init__(config)
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.model.layers = nn.ModuleList(Layer(config, Attention(config)) for _ in range(config.num_hidden_layers))
        self.model.norm = RmsNorm(config.hidden_size, config.rms_norm_eps)

    def get_output_embeddings(self):
        return self.model.embed_tokens

    def logits(self, ids):
        config = self.config
        x = self.model.embed_tokens(ids) * config.scale_emb
        for layer in self.model.layers:
            x = layer(x, config.scale_depth / config.num_hidden_layers ** 0.5)
        return self.model.norm(x) / (config.hidden_size / config.dim_model_base) @ self.model.embed_tokens.weight.T
