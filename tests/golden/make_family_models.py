#!/usr/bin/env python3
"""Makes tests/data/families/<name>/: tiny random-weight models of every architecture and what `transformers` says of them.

    python tests/golden/make_family_models.py            (all, or the names given)

Each folder is a Hugging Face directory as published ones are, plus golden.json and golden.logits.f32, in the form of
tests/data/fidelity (make_fidelity_models.py). The models and their planted faults are in fidelity/<kind>.py.
"""
import sys
import traceback
import zlib

import torch
import transformers

from fidelity import encoder, kinds
from fidelity.core import make

if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    models = kinds.all_models()
    failed = []
    for each in sys.argv[1:] or models:
        try:
            maker = encoder.make if isinstance(models[each], encoder.EncoderSpec) else make
            maker(each, models[each], zlib.crc32(each.encode()) % 1000)
        except Exception:  # the others are made all the same
            traceback.print_exc()
            failed.append(each)
    sys.exit(f"not made: {failed}" if failed else 0)
