#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Make lib/text/unicode_tables.inc: what the text layer knows of Unicode, asked of the package `tokenizers`, so that both
agree on every code point, whatever version of Unicode it was built with.

    python3 tests/golden/make_unicode_tables.py model > lib/text/unicode_tables.inc

model: any SentencePiece model with the rules nmt_nfkc, such as tests/golden/text/t5.model.
Needs tokenizers, regex, sentencepiece, protobuf, transformers.
"""
import sys
import unicodedata

import regex
from sentencepiece import sentencepiece_model_pb2 as proto
from tokenizers import Regex, normalizers, pre_tokenizers

POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
NFC, NFD, LOWER = normalizers.NFC(), normalizers.NFD(), normalizers.Lowercase()
ACUTE, E_ACUTE = 'e\u0301', '\u00e9'


def matching(pattern):
    """Code points that match."""
    remover = normalizers.Replace(Regex(f'[^{pattern}]'), '')
    return [ord(c) for c in remover.normalize_str(''.join(map(chr, POINTS)))]


def ranges(points, limit, key=lambda c: None):
    """(first, length, key) of neighbours with equal keys, at most limit long."""
    found = []
    for c in points:
        if found and found[-1][0] + found[-1][1] == c and found[-1][1] < limit and found[-1][2] == key(c):
            found[-1] = (found[-1][0], found[-1][1] + 1, found[-1][2])
        else:
            found.append((c, 1, key(c)))
    return found


def show(name, kind, items):
    print(f'\nstatic const {kind} {name}[] = {{')
    line = '   '
    for item in items:
        if len(line) + len(item) + 2 > 118:
            print(line)
            line = '   '
        line += f' {item},'
    print(line + '\n};')


def show_set(name, points):
    show(name, 'uint32_t', [f'0x{first << 11 | length - 1:X}' for first, length, _ in ranges(points, 2048)])


def combining_classes():
    """Canonical classes: a mark moves in front of another where its class is smaller, and not 0."""
    known = {}
    for c in POINTS:
        known.setdefault(unicodedata.combining(chr(c)), chr(c))
    classes = sorted(set(known) - {0})

    def moves(first, second):
        return NFD.normalize_str(first + second) != NFD.normalize_str(first) + NFD.normalize_str(second)

    found = {}
    for c in POINTS:
        if NFD.normalize_str(chr(c)) != chr(c):
            continue
        if moves(known[classes[-1]], chr(c)):  # its class is between 1 and the last
            found[c] = next(k for k in classes if k == classes[-1] or
                            moves(known[next(n for n in classes if n > k)], chr(c)))
        elif moves(chr(c), known[classes[0]]):
            found[c] = classes[-1]
    return found


def decompositions():
    """One step of each canonical decomposition, and those that compose again."""
    steps, composing = {}, []
    for c in POINTS:
        full = NFD.normalize_str(chr(c))
        if full == chr(c) or 0xAC00 <= c < 0xD7A4:
            continue
        if len(full) == 1:
            steps[c] = (ord(full), 0)
        elif NFC.normalize_str(full) == chr(c):
            head = NFC.normalize_str(full[:-1])
            assert len(head) == 1
            steps[c] = (ord(head), ord(full[-1]))
            composing.append(c)
        else:  # excluded from composition, all of them in every version since 3.2
            pair = [int(part, 16) for part in unicodedata.decomposition(chr(c)).split()]
            assert NFD.normalize_str(''.join(map(chr, pair))) == full, hex(c)
            steps[c] = (pair[0], pair[1] if len(pair) > 1 else 0)
    assert not any(second in steps for _, second in steps.values())
    assert max(len(NFD.normalize_str(chr(c))) for c in steps) <= 4  # DQG_NFC_GROWTH
    return steps, composing


def lower_runs():
    """(first, count, stride, distance) of letters with a lower-case form of one code point."""
    runs = []
    for c in POINTS:
        low = LOWER.normalize_str(chr(c))
        if low == chr(c) or c == 0x130:
            continue
        assert len(low) == 1, hex(c)
        distance = ord(low) - c
        if runs and runs[-1][3] == distance:
            first, count, stride, _ = runs[-1]
            gap = c - (first + (count - 1) * stride)
            if gap in (1, 2) and (count == 1 or gap == stride) and count < 255:
                runs[-1] = (first, count + 1, gap, distance)
                continue
        runs.append((c, 1, 1, distance))
    return runs


def clusters(model):
    """Code points that join the cluster before them, or the one after them, as the charsmap's user sees them."""
    spec = proto.ModelProto()
    spec.ParseFromString(open(model, 'rb').read())
    rules = normalizers.Precompiled(spec.normalizer_spec.precompiled_charsmap)
    control = {c for c in POINTS if regex.match(r'\p{GCB=Control}|\r|\n', chr(c))}
    joins, leads = [], []
    for c in POINTS:
        alone = rules.normalize_str(chr(c))
        if c in control:
            continue
        if rules.normalize_str(ACUTE + chr(c)) != E_ACUTE + alone:
            joins.append(c)
        elif E_ACUTE not in rules.normalize_str(chr(c) + ACUTE) and alone == chr(c):
            leads.append(c)
    return joins, leads, sorted(control)


def main():
    print('/* SPDX-License-Identifier: MIT */\n/* Made by tests/golden/make_unicode_tables.py; included by '
          'lib/text/unicode.c, which says how to read it. */')
    show_set('letter_ranges', matching(r'\p{L}'))
    show_set('number_ranges', matching(r'\p{N}'))
    spaces = matching(r'\s')
    split = pre_tokenizers.WhitespaceSplit()
    assert spaces == [c for c in POINTS if split.pre_tokenize_str(chr(c)) == []]
    show_set('space_ranges', spaces)
    joins, leads, control = clusters(sys.argv[1])
    show_set('joining_ranges', joins)
    show_set('leading_ranges', leads)
    show_set('control_ranges', control)
    classes = combining_classes()
    show('combining_ranges', 'uint32_t', [f'0x{first << 11 | k << 3 | length - 1:X}' for first, length, k in
                                          ranges(sorted(classes), 8, classes.get)])
    show('lower_runs', 'struct lower_run', [f'{{0x{f:X}, {n}, {s}, {d}}}' for f, n, s, d in lower_runs()])
    steps, composing = decompositions()
    order = sorted(steps)
    show('decompositions', 'struct decomposition',
         [f'{{0x{c:X}, 0x{steps[c][0]:X}, 0x{steps[c][1]:X}}}' for c in order])
    number = {c: i for i, c in enumerate(order)}
    show('compositions', 'uint16_t', [str(number[c]) for c in sorted(composing, key=steps.get)])


main()
