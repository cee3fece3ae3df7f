"""Random-weight GGUF files of the llama architecture, for llama.cpp and for `loopc bench --weights`."""
import os
import pathlib
import sys
import tempfile

import cases


def directory():
    return pathlib.Path(os.environ.get("LOOPC_BENCHMARK_FILES", pathlib.Path(tempfile.gettempdir()) / "loopc-benchmarks"))


def llama_file(model, dtype):
    """Path of the file, written first if it is not there. Needs the packages `gguf` and `numpy`."""
    import gguf
    import numpy
    shape = cases.llama_shape(model)
    name = "-".join(str(shape[key]) for key in ("layers", "width", "heads", "kv_heads", "ff", "vocab"))
    path = directory() / f"llama-{name}-{dtype}.gguf"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    kind = {"f32": gguf.GGMLQuantizationType.F32, "bf16": gguf.GGMLQuantizationType.BF16,
            "q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_1": gguf.GGMLQuantizationType.Q4_1}[dtype]
    file_type = {"f32": gguf.LlamaFileType.ALL_F32, "bf16": gguf.LlamaFileType.MOSTLY_BF16, "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
                 "q4_1": gguf.LlamaFileType.MOSTLY_Q4_1}[dtype]
    writer = gguf.GGUFWriter(temporary, "llama")
    head_dim = shape["width"] // shape["heads"]
    writer.add_name(model)
    writer.add_block_count(shape["layers"])
    writer.add_context_length(4096)
    writer.add_embedding_length(shape["width"])
    writer.add_feed_forward_length(shape["ff"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["kv_heads"])
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(shape["theta"])
    writer.add_layer_norm_rms_eps(shape["eps"])
    writer.add_vocab_size(shape["vocab"])
    writer.add_tokenizer_model("none")
    writer.add_file_type(file_type)
    generator = numpy.random.default_rng(0)
    made = {}

    def matrix(name, rows, columns):
        if (rows, columns) not in made:  # matrices of one shape share their numbers
            data = 0.02 * generator.standard_normal((rows, columns), dtype=numpy.float32)
            made[rows, columns] = gguf.quants.quantize(data, kind)
        writer.add_tensor(name, made[rows, columns], raw_dtype=kind)
    ones = numpy.ones(shape["width"], numpy.float32)
    width, kv, ff = shape["width"], shape["kv_heads"] * head_dim, shape["ff"]
    matrix("token_embd.weight", shape["vocab"], width)
    writer.add_tensor("output_norm.weight", ones)
    if not shape["tied"]:
        matrix("output.weight", shape["vocab"], width)
    for i in range(shape["layers"]):
        writer.add_tensor(f"blk.{i}.attn_norm.weight", ones)
        writer.add_tensor(f"blk.{i}.ffn_norm.weight", ones)
        for part, rows, columns in (("attn_q", width, width), ("attn_k", kv, width), ("attn_v", kv, width), ("attn_output", width, width),
                                    ("ffn_gate", ff, width), ("ffn_up", ff, width), ("ffn_down", width, ff)):
            matrix(f"blk.{i}.{part}.weight", rows, columns)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    temporary.rename(path)
    return path


if __name__ == "__main__":
    print(llama_file(*sys.argv[1:]))
