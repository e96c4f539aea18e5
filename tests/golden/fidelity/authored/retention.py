"""RetNet after torchscale's retnet.py, and the linear attention of Katharopoulos et al. (elu(x) + 1)."""
import torch
from torch import nn
from torch.nn import functional

from fidelity.authored.parts import Authored, RmsNorm, rotate_pairs


def linear(rows, columns, bias=False):
    return nn.Linear(columns, rows, bias=bias)


class Retention(nn.Module):
    """Multi-scale retention: head h forgets by 1 - 2^(-5 - h) a step; the output is normed per head and gated by silu.

    torchscale divides each row by the greater of 1 and the sum of its absolute scores, and the decay matrix by the root of
    its rows' sums; the norm that follows makes both vanish up to its epsilon. This is the form without them (the recurrent one).
    """

    def __init__(self, config):
        super().__init__()
        self.config, size, wide = config, config.decoder_embed_dim, config.decoder_value_embed_dim
        self.heads = config.decoder_retention_heads
        self.q_proj, self.k_proj = linear(size, size), linear(size, size)
        self.v_proj, self.g_proj, self.out_proj = linear(wide, size), linear(wide, size), linear(size, wide)

    def forward(self, x):
        n, heads = x.shape[1], self.heads
        q, k, v = (p(x)[0].view(n, heads, -1).transpose(0, 1) for p in (self.q_proj, self.k_proj, self.v_proj))
        size = q.shape[-1]
        k = k * size ** -0.5
        if getattr(self.config, "rotated", True):
            base = getattr(self.config, "rope_base", 10000.0)
            frequencies = base ** -torch.linspace(0, 1, size // 2)
            angle = (torch.arange(n).float()[:, None] * frequencies).to(x.dtype)
            q, k = rotate_pairs(q, angle), rotate_pairs(k, angle)
        decay = 1 - 2.0 ** (-5 - torch.arange(heads, dtype=x.dtype))
        if not getattr(self.config, "decays", True):
            decay = torch.ones_like(decay)
        steps = torch.arange(n)[:, None] - torch.arange(n)
        kept = torch.where(steps >= 0, decay[:, None, None] ** steps.clamp(min=0), 0.0)
        out = (q @ k.transpose(-1, -2) * kept) @ v
        out = out * torch.rsqrt(out.pow(2).mean(-1, keepdim=True) + self.config.layernorm_eps)
        out = out.transpose(0, 1).reshape(1, n, -1)
        return self.out_proj(functional.silu(self.g_proj(x)) * out if getattr(self.config, "gated", True) else out)


class RetNetFfn(nn.Module):
    """torchscale's gated linear unit: silu(fc1 x) (gate x)."""

    def __init__(self, config):
        super().__init__()
        self.fc1, self.gate = (linear(config.decoder_ffn_embed_dim, config.decoder_embed_dim) for _ in range(2))
        self.fc2 = linear(config.decoder_embed_dim, config.decoder_ffn_embed_dim)

    def forward(self, x):
        return self.fc2(functional.silu(self.fc1(x)) * self.gate(x))


class RetNetLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.retention, self.ffn = Retention(config), RetNetFfn(config)
        self.retention_layer_norm = RmsNorm(config.decoder_embed_dim, config.layernorm_eps)
        self.final_layer_norm = RmsNorm(config.decoder_embed_dim, config.layernorm_eps)

    def forward(self, x):
        x = x + self.retention(self.retention_layer_norm(x))
        return x + self.ffn(self.final_layer_norm(x))


class RetNet(Authored):
    """RetNet after torchscale's retnet.py in its recurrent form; transformers has no such class."""

    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.decoder_embed_dim)
        self.layers = nn.ModuleList(RetNetLayer(config) for _ in range(config.decoder_layers))
        self.layer_norm = RmsNorm(config.decoder_embed_dim, config.layernorm_eps)
        self.output_projection = linear(config.vocab_size, config.decoder_embed_dim)

    def get_output_embeddings(self):
        return self.output_projection

    def logits(self, ids):
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x)
        return self.output_projection(self.layer_norm(x))


class LinearAttentionLayer(nn.Module):
    """phi(q_i) sum_j phi(k_j) v_j / (phi(q_i) sum_j phi(k_j) + eps) over j <= i."""

    def __init__(self, config):
        super().__init__()
        self.config, size = config, config.hidden_size
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, linear(size, size, bias=True))
        self.fc1, self.fc2 = linear(config.intermediate_size, size, True), linear(size, config.intermediate_size, True)
        self.norm1, self.norm2 = (nn.LayerNorm(size, config.layer_norm_eps) for _ in range(2))

    def attend(self, x):
        n = x.shape[1]
        q, k, v = (p(x)[0].view(n, self.config.num_attention_heads, -1).transpose(0, 1)
                   for p in (self.q_proj, self.k_proj, self.v_proj))
        if getattr(self.config, "feature_map", "elu1") == "elu1":
            q, k = functional.elu(q) + 1, functional.elu(k) + 1
        else:
            q, k = functional.relu(q), functional.relu(k)
        scores = (q @ k.transpose(-1, -2)).tril()
        out = scores @ v
        if getattr(self.config, "normalized", True):
            out = out / (scores.sum(-1, keepdim=True) + self.config.denominator_eps)
        return self.o_proj(out.transpose(0, 1).reshape(1, n, -1))

    def forward(self, x):
        x = x + self.attend(self.norm1(x))
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class LinearAttention(Authored):
    """Causal linear attention after Katharopoulos et al. 2020 (equations 8 to 12); transformers has no such class."""

    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.embed_positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layers = nn.ModuleList(LinearAttentionLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.lm_head = linear(config.vocab_size, config.hidden_size)

    def get_output_embeddings(self):
        return self.lm_head

    def logits(self, ids):
        x = self.embed_tokens(ids) + self.embed_positions(torch.arange(ids.shape[1]))
        for layer in self.layers:
            x = layer(x)
        return self.lm_head(self.norm(x))
