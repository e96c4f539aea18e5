"""python convert.py CONVERTER FOLDER KEYS FLAGS (OUT TYPE)...: runs llama.cpp's converter without its vocabulary step.

KEYS, a JSON object, is added to what the converter reads of the config (null takes a key away); FLAGS,
a JSON list, to its command line.
"""
import json
import pathlib
import sys


def main(converter, folder, keys, flags, *outs):
    sys.path.insert(0, str(pathlib.Path(converter).parent))
    import convert_hf_to_gguf as tool

    def no_vocabulary(self):
        self.gguf_writer.add_tokenizer_model("no_vocab")
        self.gguf_writer.add_vocab_size(self.hparams["vocab_size"])
        if "bert" in self.hparams["model_type"] and "type_vocab_size" in self.hparams:
            self.gguf_writer.add_token_type_count(self.hparams["type_vocab_size"])  # this too is of that step

    get_model_class = tool.get_model_class  # the tool looks a class up in each run

    def without_vocabulary(*args, **kwargs):
        model = get_model_class(*args, **kwargs)
        model.set_vocab = no_vocabulary
        if hasattr(model, "lerp_weights"):
            model.lerp_weights = {}  # of the class: left full by a first conversion
        return model

    load = tool.ModelBase.load_hparams

    def with_keys(*args, **kwargs):
        more = json.loads(keys)
        return {k: v for k, v in {**load(*args, **kwargs), **more}.items() if v is not None or k not in more}

    tool.ModelBase.load_hparams = staticmethod(with_keys)
    tool.get_model_class = without_vocabulary
    for out, kind in zip(outs[::2], outs[1::2]):
        sys.argv = ["convert_hf_to_gguf.py", folder, "--outfile", out, "--outtype", kind, *json.loads(flags)]
        tool.main()


if __name__ == "__main__":
    sys.path.pop(0)  # this folder's own modules are not the converter's
    main(*sys.argv[1:])
