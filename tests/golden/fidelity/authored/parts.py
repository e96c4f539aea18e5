"""What several of the authors' models share."""
import types

import torch
from torch import nn


class RmsNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class Authored(nn.Module):
    """Answers as transformers' models do."""

    def __init__(self, config):
        super().__init__()
        self.config = config

    def forward(self, input_ids, use_cache=False):
        return types.SimpleNamespace(logits=self.logits(input_ids))


def angles(positions, size, base, dtype):
    """[positions, size / 2]"""
    frequencies = base ** (-torch.arange(0, size, 2).float() / size)
    return (torch.arange(positions).float()[:, None] * frequencies).to(dtype)


def rotate_pairs(x, angle):
    """x [..., positions, size]: neighbouring pairs turned."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * angle.cos() - odd * angle.sin(), odd * angle.cos() + even * angle.sin()], -1).flatten(-2)


def rotate_halves(x, angle):
    first, second = x.chunk(2, -1)
    return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1)


def causal_attention(q, k, v, scale, bias=0.0):
    """q [batch, heads, n, d]; k, v with as many or fewer heads."""
    repeat = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
    n = q.shape[2]
    scores = q @ k.transpose(-1, -2) * scale + bias
    scores = scores.masked_fill(torch.ones(n, n, dtype=torch.bool).triu(1), float("-inf"))
    return scores.softmax(-1) @ v
