"""
Writes plugins/tokenizers/bpe/unicode_ranges.h: the classes of characters that
split patterns speak of, as tiktoken's regular expressions know them. Asking
the engine itself, one character after the other, leaves no doubt about which
edition of Unicode it was built with.

    python make_unicode.py > unicode_ranges.h     needs: tiktoken
"""
import tiktoken

CLASSES = {
    "UPPER": r"[\p{Lu}\p{Lt}]",
    "LOWER": r"\p{Ll}",
    "LETTER": r"[\p{Lm}\p{Lo}]",
    "MARK": r"\p{M}",
    "NUMBER": r"\p{N}",
    "SPACE": r"\s",
}
BYTES = {bytes([i]): i for i in range(256)}


def members(pattern):
    """Every character that matches; encoding drops what does not."""
    encoding = tiktoken.Encoding(
        "probe", pat_str=pattern, mergeable_ranks=BYTES, special_tokens={})
    points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    found = []
    for i in range(0, len(points), 4096):
        text = "".join(map(chr, points[i:i + 4096]))
        found += map(ord, bytes(encoding.encode_ordinary(text)).decode())
    return found


def runs(of):
    """(first, count, class); alternating cases are one run, PAIRS."""
    out = []
    for point in sorted(of):
        if point < 128:
            continue
        name = of[point]
        if out:
            first, count, last = out[-1]
            beside = point == first + count
            if beside and last == name:
                out[-1] = (first, count + 1, name)
                continue
            if beside and last == "PAIRS" and name == ("UPPER", "LOWER")[count % 2]:
                out[-1] = (first, count + 1, "PAIRS")
                continue
            if beside and count == 1 and (last, name) == ("UPPER", "LOWER"):
                out[-1] = (first, 2, "PAIRS")
                continue
        out.append((point, 1, name))
    return out


def main():
    of = {}
    for name, pattern in CLASSES.items():
        for point in members(pattern):
            of[point] = name
    rows = ["{0x%x, %d, %s}," % row for row in runs(of)]
    print("""/*
 * unicode_ranges.h - characters beyond ASCII by class: first, count, class.
 * PAIRS: UPPER and LOWER in turn. What is in no range is of no class.
 *
 * Unicode 16, as tiktoken's engine has it. Written by
 * tests/plugins/tokenizers/bpe/make_unicode.py; not edited by hand.
 */""")
    line = ""
    for row in rows:
        if len(line) + 1 + len(row) > 79:
            print(line)
            line = ""
        line += (" " if line else "") + row
    print(line)


main()
