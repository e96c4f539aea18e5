"""python convert.py CONVERTER FOLDER (OUT TYPE)...: runs llama.cpp's converter with its vocabulary step replaced by none."""
import pathlib
import sys


def main(converter, folder, *outs):
    sys.path.insert(0, str(pathlib.Path(converter).parent))
    import convert_hf_to_gguf as tool

    def no_vocabulary(self):
        self.gguf_writer.add_tokenizer_model("no_vocab")
        self.gguf_writer.add_vocab_size(self.hparams["vocab_size"])

    get_model_class = tool.get_model_class  # the tool looks a class up in each run

    def without_vocabulary(*args, **kwargs):
        model = get_model_class(*args, **kwargs)
        model.set_vocab = no_vocabulary
        return model

    tool.get_model_class = without_vocabulary
    for out, kind in zip(outs[::2], outs[1::2]):
        sys.argv = ["convert_hf_to_gguf.py", folder, "--outfile", out, "--outtype", kind]
        tool.main()


if __name__ == "__main__":
    sys.path.pop(0)  # this folder's own modules are not the converter's
    main(*sys.argv[1:])
