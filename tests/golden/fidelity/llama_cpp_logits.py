"""What llama.cpp computes from a GGUF file, in float32 with a float32 cache: a second opinion on a model's form."""
import ctypes

import llama_cpp as lib
import numpy as np

from fidelity import core

_silent = lib.llama_log_callback(lambda *_: None)
lib.llama_log_set(_silent, ctypes.c_void_p(0))


def logits(path, ids, vocab):
    parameters = lib.llama_model_default_params()
    parameters.n_gpu_layers = 0
    model = lib.llama_model_load_from_file(str(path).encode(), parameters)
    if not model:
        raise RuntimeError("llama.cpp does not load the file")
    settings = lib.llama_context_default_params()
    settings.n_ctx, settings.n_batch, settings.n_ubatch = len(ids), len(ids), len(ids)
    settings.n_threads = settings.n_threads_batch = 1
    settings.type_k = settings.type_v = lib.GGML_TYPE_F32
    settings.flash_attn_type = 0
    context = lib.llama_init_from_model(model, settings)
    batch = lib.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
        batch.seq_id[i][0] = 0
    if lib.llama_decode(context, batch) != 0:
        raise RuntimeError("llama.cpp does not decode the ids")
    out = np.stack([np.ctypeslib.as_array(lib.llama_get_logits_ith(context, i), (vocab,)).copy() for i in range(len(ids))])
    lib.llama_batch_free(batch)
    lib.llama_free(context)
    lib.llama_model_free(model)
    return out


def compare(path, folder, golden, spec):
    """How far llama.cpp's logits are from the reference, or from those with the fault that it is known to have."""
    reference = np.fromfile(folder / golden["logits"], "<f4").reshape(golden["shape"])
    out = {}
    if spec.llama_cpp_fault:
        out["llama_cpp_has_the_fault"] = spec.llama_cpp_fault
        model = core.load(folder, spec)
        fault = core.faults_of(spec, model.config)[spec.llama_cpp_fault]
        reference = core.logits_of(core.wrong_model(folder, spec, fault), golden["ids"]).numpy()
    try:
        found = np.abs(logits(path, golden["ids"], golden["shape"][1]) - reference).max()
        out["llama_cpp_differs_by"] = float(f"{found:.2g}")
    except RuntimeError as error:
        out["llama_cpp_says"] = str(error)
    return out
