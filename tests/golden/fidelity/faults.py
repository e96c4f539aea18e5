"""The faults that any model of a kind can have, found from its config: what a wrong reader or wrong arithmetic would do."""
import copy

EPSILONS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps")
ACTIVATIONS = ("hidden_act", "hidden_activation", "activation_function", "activation", "mlp_hidden_act")


def apply_changes(config, changes):
    """Sets fields of a config; a dotted name reaches into a dictionary, and a function makes the new value of the old."""
    for name, value in changes.items():
        head, *inner = name.split(".")
        if not inner:
            setattr(config, head, value(getattr(config, head)) if callable(value) else value)
            continue
        outer = copy.deepcopy(getattr(config, head))
        place = outer
        for part in inner[:-1]:
            place = place[part]
        if isinstance(place, dict):
            place[inner[-1]] = value(place[inner[-1]]) if callable(value) else value
        else:
            setattr(place, inner[-1], value(getattr(place, inner[-1])) if callable(value) else value)
        setattr(config, head, outer)


def rope_faults(config):
    parameters = getattr(config, "rope_parameters", None)
    if not parameters:
        return
    places = [""] if "rope_theta" in parameters else [f".{k}" for k, v in parameters.items() if v]
    yield "rope base x1.2", {f"rope_parameters{p}.rope_theta": lambda theta: theta * 1.2 for p in places}
    for place in places:
        inner = parameters if not place else parameters[place[1:]]
        if inner.get("rope_type", "default") != "default":
            yield f"no rope scaling{place}", {f"rope_parameters{place}": dict(inner, rope_type="default")}
    if len(places) == 2:
        yield "the layer types' rope bases swapped", {
            f"rope_parameters{places[0]}.rope_theta": parameters[places[1][1:]]["rope_theta"],
            f"rope_parameters{places[1]}.rope_theta": parameters[places[0][1:]]["rope_theta"]}


def window_faults(config):
    window = getattr(config, "sliding_window", None)
    types = getattr(config, "layer_types", None)
    if not window or (types and "sliding_attention" not in types):
        return
    yield "window + 1", {"sliding_window": window + 1}
    yield "no window", {"sliding_window": 4096}
    if types and len(set(types)) > 1:
        swap = {"sliding_attention": "full_attention", "full_attention": "sliding_attention"}
        if "rope_parameters" not in vars(config) or "sliding_attention" not in (config.rope_parameters or {}):
            yield "windows on the other layers", {"layer_types": [swap.get(t, t) for t in types]}


def fill(pattern, value):
    """A fault that sets every parameter whose name holds one of the texts to a value."""
    patterns = (pattern,) if isinstance(pattern, str) else pattern

    def plant(model):
        touched = [p for n, p in model.named_parameters() if any(each in n for each in patterns)]
        assert touched, f"no parameter is called {pattern}"
        for p in touched:
            p.fill_(value)
    return plant


def no_biases(model):
    for name, p in model.named_parameters():
        if name.endswith("bias") and "norm" not in name and "ln_" not in name:
            p.zero_()


def on_modules(kind, **attributes):
    """A fault that sets attributes of every module whose class name ends so; a function makes the new of the old."""
    def plant(model):
        touched = [m for m in model.modules() if type(m).__name__.endswith(kind)]
        assert touched, f"no module is a {kind}"
        for module in touched:
            for name, value in attributes.items():
                assert hasattr(module, name), f"{kind} has no {name}"
                setattr(module, name, value(getattr(module, name)) if callable(value) else value)
    return plant


def general_faults(config):
    out = dict(rope_faults(config))
    for name in EPSILONS:
        if isinstance(getattr(config, name, None), float):
            out["norm epsilon x10"] = {name: lambda eps: eps * 10}
            break
    for name in ACTIVATIONS:
        if isinstance(old := getattr(config, name, None), str):
            other = {"silu": "gelu", "relu": "gelu", "relu2": "relu"}.get(old, "silu")
            out[f"activation {other}"] = {name: other}
            break
    out.update(window_faults(config))
    if any(getattr(config, name, False) for name in ("attention_bias", "mlp_bias", "use_bias", "bias", "use_qkv_bias",
                                                     "qkv_bias")):
        out["no biases"] = no_biases
    return out
