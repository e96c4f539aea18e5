"""Every model, by name."""
import importlib

FILES = ("moe", "gemma", "openai", "deepseek", "phi", "glm", "mistral", "granite", "llama4", "dense", "gpt", "alibi", "minicpm",
         "bitnet", "recurrent", "hybrid", "encoders")


def all_models():
    out = {}
    for name in FILES:
        models = importlib.import_module(f"fidelity.{name}").MODELS
        assert not out.keys() & models.keys()
        out.update(models)
    return out
