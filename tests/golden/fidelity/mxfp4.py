"""MXFP4 as gpt-oss files hold it: blocks of 32 values, 16 bytes of codes (even values low), and a power of two each."""
import torch

VALUES = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0])


def encode(rows):
    """[..., columns] to codes uint8 [..., columns / 32, 16] and exponents plus 127, uint8 [..., columns / 32]."""
    blocks = rows.float().reshape(*rows.shape[:-1], -1, 32)
    exponent = torch.floor(torch.log2(blocks.abs().amax(-1))) - 2
    scaled = blocks / torch.exp2(exponent)[..., None]
    codes = (scaled[..., None] - VALUES).abs().argmin(-1).to(torch.uint8)
    return codes[..., 0::2] | (codes[..., 1::2] << 4), (exponent + 127).to(torch.uint8)


def decode(codes, exponents):
    pairs = torch.stack([codes & 15, codes >> 4], -1).flatten(-2).long()
    return (VALUES[pairs] * torch.exp2(exponents.float() - 127)[..., None]).flatten(-2)
