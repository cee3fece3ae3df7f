# Writes cases.json: ids and text by the `tokenizers` library (0.23.3) for variants of the ouro-mini tokenizer.
# Run as `python3 make-cases.py` in this folder with `tokenizers` installed; tests read the result only.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import copy
import json
import random

from tokenizers import Tokenizer

base = json.load(open("../../models/ouro-mini/tokenizer.json"))
random.seed(1)
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_level(prefix=False, regex=True):
    return dict(type="ByteLevel", add_prefix_space=prefix, trim_offsets=True, use_regex=regex)


def sequence(*members):
    return dict(type="Sequence", pretokenizers=list(members))


def split(pattern, behavior="Isolated", invert=False):
    return dict(type="Split", pattern=pattern, behavior=behavior, invert=invert)


def added(id, content, **flags):
    token = dict(id=id, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)
    token.update(flags)
    return token


n = len(base["model"]["vocab"])
extra = [
    added(n, "<|im_start|>", special=True),
    added(n + 1, "<mask>", lstrip=True, special=True),
    added(n + 2, "<r>", rstrip=True),
    added(n + 3, "é\u0301x", normalized=True),
    added(n + 4, "<|im"),
]
template = dict(
    type="TemplateProcessing",
    single=[
        dict(SpecialToken=dict(id="<|im_start|>", type_id=0)),
        dict(Sequence=dict(id="A", type_id=0)),
        dict(SpecialToken=dict(id="<|endoftext|>", type_id=0)),
    ],
    pair=[dict(Sequence=dict(id="A", type_id=0)), dict(Sequence=dict(id="B", type_id=1))],
    special_tokens={
        "<|im_start|>": dict(id="<|im_start|>", ids=[n], tokens=["<|im_start|>"]),
        "<|endoftext|>": dict(id="<|endoftext|>", ids=[0], tokens=["<|endoftext|>"]),
    },
)
nfc = dict(type="NFC")

# name, members of tokenizer.json to replace, members of its model to replace, added tokens, merges as "a b"
variants = [
    dict(name="as it is", set={}),
    dict(name="prefix space", set=dict(pre_tokenizer=byte_level(prefix=True))),
    dict(
        name="cl100k, NFC",
        set=dict(pre_tokenizer=sequence(split(dict(Regex=CL100K)), byte_level(regex=False)), normalizer=nfc),
    ),
    dict(
        name="single digits, prefix space, NFC in a sequence",
        set=dict(
            pre_tokenizer=sequence(dict(type="Digits", individual_digits=True), byte_level(prefix=True)),
            normalizer=dict(type="Sequence", normalizers=[nfc]),
        ),
    ),
    dict(name="digits", set=dict(pre_tokenizer=sequence(dict(type="Digits", individual_digits=False), byte_level()))),
    dict(name="added tokens, template", set=dict(post_processor=template), add=extra),
    dict(
        name="added tokens, template, NFC, whole pieces, merges as strings",
        set=dict(post_processor=template, normalizer=nfc),
        model=dict(ignore_merges=True),
        add=extra,
        string_merges=True,
    ),
]
for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
    for invert in (False, True):
        for pattern in (dict(String="e"), dict(Regex=r"\s|\p{Lu}")):
            variants.append(
                dict(
                    name="%s%s %s" % (behavior, " inverted" if invert else "", pattern),
                    set=dict(pre_tokenizer=sequence(split(pattern, behavior, invert), byte_level(regex=False))),
                )
            )

letters = list("   \n\n\t\rabcdeEXYZ's'll0123456789.,;!?-_()<>|")
letters += ["é", "e\u0301", "ü", "\u0301", "\u0327", "\u00a0", "\u3000", "中", "文", "가", "각", "\u1100\u1161\u11a8"]
letters += ["😀", "👨\u200d👩", "Ⅷ", "½", "٣", "ß", "İ", "\u0958", "\u2028", "क्षि", "\u0344", "\u212b", "\u1e9b\u0323"]
words = ["And", "God", "said", "the", "LORD", "<|endoftext|>", "<|im_start|>", "<|im", "<mask>", "<r>", "é\u0301x"]
words += [" the", "shepherd", "1234567"]


def build(variant):
    tree = copy.deepcopy(base)
    tree.update(variant["set"])
    tree["model"].update(variant.get("model", {}))
    tree["added_tokens"] += variant.get("add", [])
    if variant.get("string_merges"):
        tree["model"]["merges"] = [" ".join(m) for m in tree["model"]["merges"]]
    return tree


for variant in variants:
    tokenizer = Tokenizer.from_str(json.dumps(build(variant)))
    variant["cases"] = []
    for _ in range(16):
        parts = [random.choice(words if random.random() < 0.3 else letters) for _ in range(random.randint(1, 30))]
        text = "".join(parts)
        ids = tokenizer.encode(text).ids
        variant["cases"].append(dict(text=text, ids=ids, decoded=tokenizer.decode(ids, skip_special_tokens=False)))
with open("cases.json", "w") as out:
    out.write("[\n" + ",\n".join(json.dumps(v, ensure_ascii=True) for v in variants) + "\n]\n")
