"""Innermost loops with products of one function in assembly text: how many, the most products in one, and how many touch vector registers on the
stack."""
import re
import sys

PRODUCT = re.compile(r"\b(vfmadd\w*ps|vdpbf16ps|fmla)\b")
SPILL = re.compile(r"[xyz]mm\d+.*\(%rsp|\(%rsp.*[xyz]mm\d+|\b(ldr|str|ldp|stp)\s+q\d+.*\[(sp|x29)")

text = open(sys.argv[1]).read()
for name in sys.argv[2:]:
    lines = re.search(rf"^{name}:(.*?)^\.Lfunc_end", text, re.S | re.M).group(1).splitlines()
    labels = {match.group(1): i for i, line in enumerate(lines) if (match := re.match(r"(\.L\w+):", line))}
    loops = []
    for end, line in enumerate(lines):
        jump = re.match(r"\s+(?:j\w+|b[.\w]*|cbn?z\s+\w+,|tbn?z\s+\w+,\s*#\d+,)\s+(\.L\w+)", line)
        if jump and labels.get(jump.group(1), end) < end:
            body = lines[labels[jump.group(1)]:end]
            products = sum(bool(PRODUCT.search(each)) for each in body)
            if products and not any(re.match(r"\.L\w+:", each) for each in body[1:]):
                loops.append((products, any(SPILL.search(each) for each in body)))
    print(f"{name}: {len(loops)} loops, most products {max(loops)[0]}, on the stack {sum(spills for _, spills in loops)}")
