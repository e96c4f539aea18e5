"""What Fisher information would change in kvquant3's centroids (src/quant/kv/kvquant.cpp weights by the square of a vector's radius).

usage: python bench/kvquant_fisher.py      needs torch, transformers and numpy

KVQuant (Hooper et al., NeurIPS 2024, section 3.3) weights the k-means of a code's values by the diagonal of the Fisher information: the square
of the loss's gradient by a key, before its rotation, or a value. Here they are taken of sluice-tiny-2m on the prose of its golden perplexity,
vectors cut as the format cuts them: the channels of a key over a block of 64 tokens without its first, the channels of a token's value, without
the outlier. Prints both sets of centroids, and what each loses by the Fisher-weighted square of the error.
"""
import json
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).resolve().parents[1]
BLOCK = 64
COMMITTED = {"keys": [0.1079, 0.3316, 0.5802, 0.8907], "values": [0.1049, 0.3245, 0.5716, 0.8811]}  # kvquant_decode.inc
EVEN = [1 / 7, 3 / 7, 5 / 7, 1]
BINS = 4096


def vectors(x, fisher, keys):
    """Distances from the centre in radii, Fisher information and radius of what is left of each vector of one head, [tokens][head_dim]."""
    for first in range(0, len(x) - BLOCK + 1, BLOCK):
        block, weight = (part[first + 1:first + BLOCK] for part in (x, fisher))
        for values, of in zip(*((block.T, weight.T) if keys else (block, weight))):
            ordered = np.sort(values)
            outlier = values.argmin() if ordered[-1] - ordered[1] < ordered[-2] - ordered[0] else values.argmax()
            left = np.delete(values, outlier)
            radius = (left.max() - left.min()) / 2
            if radius > 0:
                yield np.abs(left - (left.max() + left.min()) / 2) / radius, np.delete(of, outlier), np.full(len(left), radius)


def trained(distance, weight):
    """Lloyd's algorithm for the four centroids of one side."""
    centroids = np.array([0.125, 0.375, 0.625, 0.875])
    histogram, edges = np.histogram(distance, bins=BINS, range=(0, 1), weights=weight)
    at = (edges[1:] + edges[:-1]) / 2
    for _ in range(1000):
        nearest = np.abs(at[:, None] - centroids).argmin(1)
        centroids = np.array([np.average(at[nearest == c], weights=histogram[nearest == c]) for c in range(4)])
    return centroids


def loss(centroids, distance, weight):
    return np.average(np.abs(distance[:, None] - np.array(centroids)).min(1) ** 2, weights=weight)


def main():
    model = AutoModelForCausalLM.from_pretrained(ROOT / "models/sluice-tiny-2m", dtype=torch.float32, attn_implementation="eager").eval()
    windows = json.loads((ROOT / "tests/data/sluice-tiny-2m/golden.json").read_text())["perplexity"]["windows"]
    made = {"keys": [], "values": []}

    def keep(kind):
        def hook(_module, _inputs, out):
            out.retain_grad()
            made[kind].append(out)
        return hook
    for layer in model.model.layers:
        layer.self_attn.k_proj.register_forward_hook(keep("keys"))
        layer.self_attn.v_proj.register_forward_hook(keep("values"))
    head_dim = model.config.head_dim
    parts = {"keys": [], "values": []}
    for window in windows:
        ids = torch.tensor([window["ids"]])
        (model(ids, labels=ids).loss * (ids.shape[1] - 1)).backward()
        for kind, tensors in made.items():
            for tensor in tensors:
                x, fisher = tensor.detach()[0].numpy(), tensor.grad[0].numpy() ** 2
                for first in range(0, x.shape[1], head_dim):
                    parts[kind].extend(vectors(x[:, first:first + head_dim], fisher[:, first:first + head_dim], kind == "keys"))
            tensors.clear()
    for kind, all_parts in parts.items():
        distance, fisher, radius = (np.concatenate([part[i] for part in all_parts]) for i in range(3))
        for name, centroids in {"by radius": trained(distance, radius**2), "by Fisher information": trained(distance, fisher * radius**2),
                                "committed": COMMITTED[kind], "evenly spaced": EVEN}.items():
            print(f"{kind}, {name}: {' '.join(f'{c:.4f}' for c in centroids)}: loses {loss(centroids, distance, fisher * radius**2):.6f}")


if __name__ == "__main__":
    main()
