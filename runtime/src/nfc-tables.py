# Writes NfcTables.inc from the Unicode tables of Python: run as `python3 nfc-tables.py > NfcTables.inc`.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import unicodedata as u


def rows(entries, per_line):
    for i in range(0, len(entries), per_line):
        print("   ", ", ".join(entries[i : i + per_line]) + ",")


print("// Canonical decompositions and combining classes of Unicode %s; written by nfc-tables.py." % u.unidata_version)
print("// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception")
print("// {character, first, second (0: none), 1 if first and second compose to the character}")
print("constexpr Decomposition decompositions[] = {")
entries = []
for c in range(0x110000):
    d = u.decomposition(chr(c))
    if d and not d.startswith("<"):
        parts = [int(x, 16) for x in d.split()] + [0]
        composes = len(parts) == 3 and u.normalize("NFC", chr(c)) == chr(c)
        entries.append("{0x%X, 0x%X, 0x%X, %d}" % (c, parts[0], parts[1], composes))
rows(entries, 4)
print("};")
print("// {first, last, canonical combining class}")
print("constexpr CombiningRange combining[] = {")
ranges = []
for c in range(0x110000):
    k = u.combining(chr(c))
    if k and ranges and ranges[-1][1] == c - 1 and ranges[-1][2] == k:
        ranges[-1][1] = c
    elif k:
        ranges.append([c, c, k])
rows(["{0x%X, 0x%X, %d}" % tuple(r) for r in ranges], 5)
print("};")
