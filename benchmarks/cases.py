"""What the benchmarks compare: models, element types, and the shapes that llama.cpp gets for them."""
import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIGS = pathlib.Path(__file__).resolve().parent / "configs"
#: name -> (spec, class of torch_models or None)
MODELS = {
    "parcae-140m": ("parcae.loop", "Parcae"),
    "ouro-1.4b": ("ouro.loop", "Ouro"),
    "smollm2-135m": ("smollm2.loop", None),
    "smollm2-360m": ("smollm2.loop", None),
}
#: types in which a GGUF file keeps matrices; both sides read the same file
QUANTISED = ("q8_0", "q4_1")
TYPES = ("f32", "bf16") + QUANTISED


def config_path(model):
    """`model`: a name of MODELS, or the path of a config.json whose `architecture` the name before `:` gives (parcae:FILE)."""
    return CONFIGS / f"{model}.json" if model in MODELS else pathlib.Path(model.split(":", 1)[1])


def config_of(model):
    return json.loads(config_path(model).read_text())


def spec_of(model):
    """(path of the spec, class of torch_models or None)."""
    if model in MODELS:
        spec, peer = MODELS[model]
    else:
        kind = model.split(":", 1)[0]
        spec, peer = f"{kind}.loop", {"parcae": "Parcae", "ouro": "Ouro"}.get(kind)
    return ROOT / "models" / spec, peer


def llama_shape(model):
    """The llama architecture that reads as many weights a token. llama.cpp has no loops: Parcae is unrolled (a gated feed-forward of two
    thirds of the width has as many weights as Parcae's), of Ouro one iteration runs. `scale`: by what the time of that is multiplied, the
    ratio of the bytes read: an estimate in favour of llama.cpp."""
    c, kind = config_of(model), spec_of(model)[0].stem
    if kind == "parcae":
        layers = c["n_layers_in_prelude"] + c["mean_recurrence"] * c["n_layers_in_recurrent_block"] + c["n_layers_in_coda"]
        return dict(layers=layers, width=c["n_embd"], heads=c["num_attention_heads"], kv_heads=c["num_key_value_heads"],
                    ff=c["intermediate_size"] * 2 // 3 // 32 * 32, vocab=c["vocab_size"], tied=True, theta=50000.0, eps=c["norm_eps"], scale=1.0)
    width, ff, vocab = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
    layers, loops = c["num_hidden_layers"], c.get("total_ut_steps", 1)
    kv = c["num_key_value_heads"] * (width // c["num_attention_heads"])
    body, head = layers * (2 * width * width + 2 * width * kv + 3 * width * ff), vocab * width
    return dict(layers=layers, width=width, heads=c["num_attention_heads"], kv_heads=c["num_key_value_heads"], ff=ff, vocab=vocab,
                tied=c["tie_word_embeddings"], theta=c["rope_theta"], eps=c["rms_norm_eps"], scale=(loops * body + head) / (body + head))
