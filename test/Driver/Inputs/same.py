"""same.py FIRST AGAIN OTHER: three runs of one model give the same tokens, the second from the cache."""
import json
import sys

first, again, other = (json.load(open(path)) for path in sys.argv[1:4])
assert first["token_ids"] == again["token_ids"] == other["token_ids"], (first["token_ids"], other["token_ids"])
assert not first["compile_cached"] and again["compile_cached"]
print(len(first["token_ids"]), "tokens, first compiled anew, then from the cache, the same on both targets")
