"""What one tiny model is: a transformers config, the keys that published files have besides, and its planted faults."""
import dataclasses


def rope(theta, rope_type="default", **scaling):
    return dict(rope_theta=theta, rope_type=rope_type, **scaling)


@dataclasses.dataclass
class Spec:
    config: str             # name of the config class in transformers; "" where it has none
    fields: dict            # its arguments
    faults: dict = dataclasses.field(default_factory=dict)  # name: config changes, or a function of the model
    dtype: str = "float16"  # of the safetensors file
    published: dict = dataclasses.field(default_factory=dict)  # keys of published config.json files, as they write them
    gains: dict = dataclasses.field(default_factory=dict)      # regex of tensor names: deviation over 1/sqrt(columns)
    embed: float = 0.3      # deviation of the embedding
    zero_centred: str = ""  # regex of the norms whose gain is 1 + weight
    gguf: str | None = "f16"   # type of the GGUF twin, None where there is none
    gguf_note: str = ""        # why there is none, or what its form changes
    converter: dict = dataclasses.field(default_factory=dict)  # keys that only the converter is given, and lacks otherwise
    converter_flags: tuple = ()  # of its command line
    converter_names: tuple = ()  # (regex, replacement) pairs that give the tensors the names that the converter knows
    llama_cpp_fault: str = ""  # the planted fault that llama.cpp has with the twin
    without: tuple = ()        # general faults that this model cannot show
    authored: type | None = None  # a module of authored/ where transformers has no such model
    attention: str = "eager"   # transformers' implementation
    finish: object = None      # function of (folder, model): last changes to the saved folder
