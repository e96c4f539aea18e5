"""RWKV 5, 6 and 7, after RWKV-LM's and ChatRWKV's formulation; tensors as the World files name them.

The state of a head is [size, size]. Each step is written out; no chunking.
"""
import re
import types

import torch
from torch import nn
from torch.nn import functional

from fidelity.authored.parts import Authored

HEADS_DIVISOR = 8.0  # the files' training divided by it before the group norm, whose epsilon is so 64e-5


def weight(*shape):
    return nn.Parameter(torch.zeros(*shape))


def linear(rows, columns):
    return nn.Linear(columns, rows, bias=False)


def earlier(x):
    """The row before each; zeros before the first."""
    return functional.pad(x, (0, 0, 1, -1))


class TimeMix(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, size = config, config.hidden_size
        self.heads, self.size = size // config.head_size, config.head_size
        for name in ("receptance", "key", "value", "output"):
            setattr(self, name, linear(size, size))
        self.ln_x = nn.GroupNorm(self.heads, size, eps=getattr(config, "group_epsilon", 1e-5 * HEADS_DIVISOR ** 2))

    def normed(self, rows):
        return self.ln_x(rows.reshape(rows.shape[1], -1))[None]

    def per_head(self, x):
        return x.view(x.shape[1], self.heads, self.size)

    def recur(self, r, k, v, decay, bonus):
        """r, k, v, decay [n, heads, size]: out = r (bonus k v^T + S), then S = decay S + k v^T; S [heads, key, value]."""
        state, rows = r.new_zeros(self.heads, self.size, self.size), []
        for i in range(len(r)):
            new = k[i][:, :, None] * v[i][:, None, :]
            rows.append((r[i][:, None, :] @ (bonus[:, :, None] * new + state))[:, 0])
            state = decay[i][:, :, None] * state + new
        return torch.stack(rows)[None]


class TimeMix5(TimeMix):
    def __init__(self, config):
        super().__init__(config)
        self.gate = linear(config.hidden_size, config.hidden_size)
        for name in "kvrg":
            setattr(self, f"time_mix_{name}", weight(1, 1, config.hidden_size))
        self.time_decay, self.time_faaaa = weight(self.heads, self.size), weight(self.heads, self.size)

    def forward(self, x, _first):
        before = earlier(x)
        k, v, r, g = (x * m + before * (1 - m) for m in (self.time_mix_k, self.time_mix_v, self.time_mix_r, self.time_mix_g))
        r, k, v = self.per_head(self.receptance(r)), self.per_head(self.key(k)), self.per_head(self.value(v))
        decay = torch.exp(-torch.exp(self.time_decay)).expand(len(r), -1, -1)
        out = self.normed(self.recur(r, k, v, decay, self.time_faaaa))
        if getattr(self.config, "gated", True):
            out = out * functional.silu(self.gate(g))
        return self.output(out), None


class TimeMix6(TimeMix):
    MIX_RANK, DECAY_RANK = 6, 5

    def __init__(self, config):
        super().__init__(config)
        size = config.hidden_size
        self.gate = linear(size, size)
        for name in "xwkvrg":
            setattr(self, f"time_maa_{name}", weight(1, 1, size))
        self.time_maa_w1, self.time_maa_w2 = weight(size, 5 * self.MIX_RANK), weight(5, self.MIX_RANK, size)
        self.time_decay = weight(1, 1, size)
        self.time_decay_w1, self.time_decay_w2 = weight(size, self.DECAY_RANK), weight(self.DECAY_RANK, size)
        self.time_faaaa = weight(self.heads, self.size)

    def forward(self, x, _first):
        delta, n = earlier(x) - x, x.shape[1]
        mixed = torch.tanh((x + delta * self.time_maa_x) @ self.time_maa_w1).view(n, 5, -1).transpose(0, 1)
        more = (mixed @ self.time_maa_w2)[:, None]
        w, k, v, r, g = (x + delta * (getattr(self, f"time_maa_{name}") + more[i]) for i, name in enumerate("wkvrg"))
        decay = torch.exp(-torch.exp(self.time_decay + torch.tanh(w @ self.time_decay_w1) @ self.time_decay_w2))
        r, k, v = self.per_head(self.receptance(r)), self.per_head(self.key(k)), self.per_head(self.value(v))
        out = self.normed(self.recur(r, k, v, self.per_head(decay), self.time_faaaa))
        return self.output(out * functional.silu(self.gate(g))), None


class TimeMix7(TimeMix):
    RANKS = dict(w=5, a=4, v=3, g=6)

    def __init__(self, config, layer):
        super().__init__(config)
        size, self.layer = config.hidden_size, layer
        for name in "rwkvag":
            setattr(self, f"x_{name}", weight(1, 1, size))
        for name, rank in self.RANKS.items():
            if name == "v" and layer == 0:
                continue
            setattr(self, f"{name}1", weight(size, rank))
            setattr(self, f"{name}2", weight(rank, size))
            if name != "g":
                setattr(self, f"{name}0", weight(1, 1, size))
        self.k_k, self.k_a, self.r_k = weight(1, 1, size), weight(1, 1, size), weight(self.heads, self.size)

    def forward(self, x, first):
        delta = earlier(x) - x
        r, w, k, v, a, g = (x + delta * getattr(self, f"x_{name}") for name in "rwkvag")
        values = v
        r, k, v = self.receptance(r), self.key(k), self.value(v)
        w = -functional.softplus(-(self.w0 + torch.tanh(w @ self.w1) @ self.w2)) - 0.5
        if self.layer == 0:
            first = v
        else:
            v = v + (first - v) * torch.sigmoid(self.v0 + values @ self.v1 @ self.v2)
        a = torch.sigmoid(self.a0 + a @ self.a1 @ self.a2)
        g = torch.sigmoid(g @ self.g1) @ self.g2
        removal = functional.normalize(self.per_head(k * self.k_k), dim=-1)
        k = k * (1 + (a - 1) * self.k_a)
        r, k, v, a, decay = (self.per_head(t) for t in (r, k, v, a, torch.exp(-torch.exp(w))))
        state, rows = r.new_zeros(self.heads, self.size, self.size), []  # [heads, value, key]
        for i in range(len(r)):
            removed = (state @ -removal[i][:, :, None]) * (removal[i] * a[i])[:, None, :]
            state = state * decay[i][:, None, :] + removed + v[i][:, :, None] * k[i][:, None, :]
            rows.append((state @ r[i][:, :, None])[:, :, 0])
        out = self.normed(torch.stack(rows)[None])
        out = out + ((r * k * self.r_k).sum(-1, keepdim=True) * v).reshape(out.shape)
        return self.output(out * g if getattr(self.config, "gated", True) else out), first


class ChannelMix(nn.Module):
    """Squared ReLU; a receptance gates it up to RWKV 6. `kind`: how the mixing weights are named and meant."""

    def __init__(self, config, kind):
        super().__init__()
        self.kind, size, wide = kind, config.hidden_size, 2 * config.hidden_size
        self.key, self.value = linear(wide, size), linear(size, wide)
        if kind == 7:
            self.x_k = weight(1, 1, size)
            return
        self.receptance = linear(size, size)
        for name in "kr":
            setattr(self, f"time_mix_{name}" if kind == 5 else f"time_maa_{name}", weight(1, 1, size))

    def forward(self, x):
        before = earlier(x)
        if self.kind == 7:
            return self.value(torch.relu(self.key(x + (before - x) * self.x_k)) ** 2)
        if self.kind == 5:
            k, r = (x * m + before * (1 - m) for m in (self.time_mix_k, self.time_mix_r))
        else:
            k, r = (x + (before - x) * m for m in (self.time_maa_k, self.time_maa_r))
        return torch.sigmoid(self.receptance(r)) * self.value(torch.relu(self.key(k)) ** 2)


class Block(nn.Module):
    def __init__(self, config, layer, attention, kind):
        super().__init__()
        if layer == 0:
            self.ln0 = nn.LayerNorm(config.hidden_size, config.layer_norm_epsilon)
        self.ln1 = nn.LayerNorm(config.hidden_size, config.layer_norm_epsilon)
        self.ln2 = nn.LayerNorm(config.hidden_size, config.layer_norm_epsilon)
        self.att, self.ffn = attention, ChannelMix(config, kind)

    def forward(self, x, first):
        if hasattr(self, "ln0"):
            x = self.ln0(x)
        mixed, first = self.att(self.ln1(x), first)
        x = x + mixed
        return x + self.ffn(self.ln2(x)), first


class Rwkv(Authored):
    KIND = 0

    def __init__(self, config):
        super().__init__(config)
        self.emb = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList(
            Block(config, i, self.time_mix(config, i), self.KIND) for i in range(config.num_hidden_layers))
        self.ln_out = nn.LayerNorm(config.hidden_size, config.layer_norm_epsilon)
        self.head = linear(config.vocab_size, config.hidden_size)

    def get_output_embeddings(self):
        return self.head

    def logits(self, ids):
        x, first = self.emb(ids), None
        for block in self.blocks:
            x, first = block(x, first)
        return self.head(self.ln_out(x))


class Rwkv5(Rwkv):
    """RWKV 5.2 after RWKV-LM's rwkv_v5_demo.py; transformers has RWKV 4 only."""
    KIND = 5

    def time_mix(self, config, _layer):
        return TimeMix5(config)


class Rwkv6(Rwkv):
    """RWKV 6.0 after RWKV-LM's rwkv_v6_demo.py; transformers has RWKV 4 only."""
    KIND = 6

    def time_mix(self, config, _layer):
        return TimeMix6(config)


class Rwkv7(Rwkv):
    """RWKV 7 after RWKV-LM's rwkv_v7_demo.py; transformers has RWKV 4 only."""
    KIND = 7

    def time_mix(self, config, layer):
        return TimeMix7(config, layer)


FLA_NAMES = ((r"^emb\.", "model.embeddings."), (r"^ln_out\.", "model.norm."), (r"^head\.", "lm_head."), (r"^blocks\.", "model.layers."),
             (r"\.ln0\.", ".pre_norm."), (r"\.ln1\.", ".attn_norm."), (r"\.ln2\.", ".ffn_norm."), (r"\.att\.", ".attn."),
             (r"\.ln_x\.", ".g_norm."), (r"attn\.receptance\.", "attn.r_proj."), (r"attn\.key\.", "attn.k_proj."),
             (r"attn\.value\.", "attn.v_proj."), (r"attn\.output\.", "attn.o_proj."), (r"\.([wavg])1$", r".\1_lora.lora.0.weight"),
             (r"\.([wavg])2$", r".\1_lora.lora.2.weight"), (r"\.([wavg])0$", r".\1_lora.lora.2.bias"))


class Rwkv7Fla(Rwkv7):
    """RWKV 7 after RWKV-LM's rwkv_v7_demo.py, under the names of flash-linear-attention, whose norm of heads follows from norm_eps."""

    def __init__(self, config):
        super().__init__(types.SimpleNamespace(**vars(config), head_size=config.head_dim, layer_norm_epsilon=config.norm_eps, **(
            {} if hasattr(config, "group_epsilon") else {"group_epsilon": config.head_dim * config.norm_eps})))

    def named(self, state):
        """The files' names and forms: products of low rank are linear layers, and the first layer has none for its values."""
        out = {}
        for name, tensor in state.items():
            if re.search(r"blocks\.0\.att\.v[012]$", name):
                continue
            if re.search(r"att\.[wavg][12]$", name):
                tensor = tensor.T
            elif re.search(r"att\.([wav]0|k_[ka])$|ffn\.x_k$", name):
                tensor = tensor.flatten()
            for old, new in FLA_NAMES:
                name = re.sub(old, new, name)
            out[name] = tensor.contiguous()
        return out

    def state_dict(self, *args, **kwargs):
        return self.named(super().state_dict(*args, **kwargs))

    def load_state_dict(self, state, strict=True):
        own = dict(super().state_dict())
        mine = self.named({name: torch.full_like(t, i, dtype=torch.float64) for i, (name, t) in enumerate(own.items())})
        assert not strict or mine.keys() == state.keys()
        names = list(own)
        for name, tensor in state.items():
            target = own[names[int(mine[name].flatten()[0])]]
            target.copy_(tensor.T if re.search(r"lora\.[02]\.weight$", name) else tensor.reshape(target.shape))
