#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Make tests/golden/text: vocabularies, a thousand strings, and their tokens as the package `transformers` finds them.

    python3 tests/golden/make_text_golden.py bpe_simple_vocab_16e6.txt.gz

The file is CLIP's list of merges, as the packages openai-clip and open-clip-torch carry it (MIT, see LICENSES). The
unigram model is kept; where t5.model is missing it is trained again, on the documents of this repository. Needs
transformers, sentencepiece, protobuf.
"""
import base64
import gzip
import json
import random
import struct
import sys
import tempfile
from pathlib import Path

import sentencepiece
from transformers import CLIPTokenizerFast, T5TokenizerFast

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / 'tests/golden/text'
MERGES, SMALL = 49152 - 256 - 2, 1000
SPECIALS = ['<|startoftext|>', '<|endoftext|>']
random.seed(20)


# ---- vocabularies ----

def byte_symbols():
    """The printable character of each byte, and bytes in the order of CLIP's ids."""
    order = [b for b in range(256) if 33 <= b <= 126 or (b >= 161 and b != 173)]
    order += [b for b in range(256) if b not in order]
    return {b: chr(b) if i < 188 else chr(256 + i - 188) for i, b in enumerate(order)}, order


def clip_vocabulary(merges):
    symbols, order = byte_symbols()
    singles = [symbols[b] for b in order]
    tokens = singles + [s + '</w>' for s in singles] + [''.join(m.split()) for m in merges] + SPECIALS
    return {token: i for i, token in enumerate(tokens)}


def save_clip(folder, merges):
    (folder / 'vocab.json').write_text(json.dumps(clip_vocabulary(merges)))
    (folder / 'merges.txt').write_text('#version: 0.2\n' + '\n'.join(merges) + '\n')
    return CLIPTokenizerFast.from_pretrained(folder)


def number(value):
    out = b''
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def pack_clip(merges):
    """The packed form, written down a second time: docs/text.md."""
    vocab, (symbols, _) = clip_vocabulary(merges), byte_symbols()
    eos = vocab[SPECIALS[1]]
    data = number(1) + b''.join(number(i + 1) for i in (vocab[SPECIALS[0]], eos, eos, eos)) + number(2)
    for name in sorted(SPECIALS):
        data += number(len(name)) + name.encode() + number(vocab[name] + 1)
    for end in ('', '</w>'):
        data += b''.join(number(vocab[symbols[b] + end] + 1) for b in range(256))
    joins = []
    for rank, merge in enumerate(merges):
        left, right = merge.split()
        joins.append((vocab[left], vocab[right], rank, vocab[left + right]))
    data += number(len(joins))
    last = distance = 0
    for left, right, rank, result in sorted(joins):
        change = result - rank - distance
        data += number(left - last) + number(right + 1) + number(rank)
        data += number(-2 * change - 1 if change < 0 else 2 * change)
        last, distance = left, distance + change
    return 'dqg-tokenizer-1:' + base64.b64encode(data).decode()


def train_unigram(folder):
    model = folder / 'spiece.model'
    if (OUT / 't5.model').is_file():
        model.write_bytes((OUT / 't5.model').read_bytes())
        return T5TokenizerFast.from_pretrained(folder)
    text = folder / 'text.txt'
    names = sorted(ROOT.glob('docs/*.md')) + [ROOT / 'README.md']
    text.write_text('\n'.join(name.read_text() for name in names))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(model.with_suffix('')), vocab_size=1500, model_type='unigram', num_threads=1,
        normalization_rule_name='nmt_nfkc', pad_id=0, eos_id=1, unk_id=2, bos_id=-1, character_coverage=1.0)
    return T5TokenizerFast.from_pretrained(folder)


# ---- strings ----

WORDS = ('a an the of in on photo painting cat dog castle dragon masterpiece highly detailed 8k 4K HDR trending '
         'artstation by Greg don\'t it\'s I\'LL we\'ve they\'re I\'m he\'d NASA McDonald\'s 1girl solo best quality '
         'hyper-realistic ultra_wide (soft) [hard] cinematic, lighting; "quoted" #tag @name 50mm f/1.8 100% $5 '
         'naïve café Ångström façade ЁЛКА Привет мир ΑΣ Σίσυφος 東京 画像 한국어 日本語 สวัสดี नमस्ते שלום مرحبا').split()
SAMPLES = ['', ' ', '\n', '\t\t', '  leading', 'trailing  ', 'a  b', 'line\nbreak', 'tab\tstop', '\r\n', 'a\u00a0b',
           '\u3000wide\u3000', '\u2028', 'a\u0085b', '\u200b', '\ufeffmark', '\x00', 'a\x00b', '\x01\x02\x1f\x7f',
           '\x1c\x1d',
           '👍🏽', '👩\u200d👩\u200d👧\u200d👦', '🏳️\u200d🌈', '🇩🇪🇫🇷', '#️⃣', '😀😀😀', 'e\u0301', 'E\u0301\u0323',
           'a\u0323\u0307\u0301',
           'ª', 'ª\u0301', 'ﬁ', 'ﬁ\u0301', '½', '²', 'Ⅷ', '①', '㍿', 'ﷺ', '\u1e9b\u0323', '\u0344', '\u2126',
           '\u212b', 'İ', 'ı',
           'ß', 'ẞ', 'Ǆ', 'ΣΑΣ', 'ſ', '각', '\u1100\u1161\u11a8', '가\u11a8', '\u1100\u1161', '\u0915\u094d\u0937',
           'क्षि',
           'สระ', '\u0e33', 'ที่นี่', '\u0600a', '\u0600e\u0301', '\u00ade\u0301', 'e\u200d\u0301', '\u0301',
           '\u0301\u0301 x',
           '\U0001d15e', '\ufb2c', '\U0001100a', 'ａｂｃ', 'Ｔ５', 'ｶﾞ', '！？', '…', '—', '“quotes”',
           "'s", "!'s", "''s", "'S",
           "x'tt", "'re'll've", "a'b'c", '...', '!!!???', '----', 'a.b.c', '<|endoftext|>', 'a<|startoftext|>b',
           '<|ENDOFTEXT|>',
           '<|EndOfText|>!', '!<|ENDOFTEXT|>', '<|', '</s>', 'a</s>b', '<pad>', '<unk>', '<extra_id_0>', '< /s>',
           '▁', '▁a', 'a▁b',
           '▁▁', '12345', '3.14', 'x²+y²', 'AbCdEf', '\ud7ff', '\ue000', '\uffff', '\U0010ffff', '\U000e0001',
           '\U000f0000',
           '\x01\u0301', 'a\x02\u0301\u0323b', '\u00ad\u0301', '\u200b\u0301']


def plane_string(plane):
    low = plane << 16
    codes = [random.randrange(low, low + 0x10000) for _ in range(12)]
    return ' '.join(''.join(chr(c) for c in codes[i:i + 3] if not 0xD800 <= c < 0xE000) for i in range(0, 12, 3))


BLOCKS = [(0x20, 0x17F), (0x250, 0x3FF), (0x300, 0x36F), (0x400, 0x52F), (0x590, 0x6FF), (0x900, 0xDFF), (0xE00, 0xEFF),
          (0x1000, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x22FF), (0x2460, 0x27BF), (0x3000, 0x31FF), (0x4E00, 0x4FFF),
          (0xA640, 0xA7FF), (0xAC00, 0xACFF), (0xF900, 0xFB4F), (0xFB50, 0xFDFF), (0xFE00, 0xFFEF), (0x10400, 0x104FF),
          (0x11000, 0x111FF), (0x1D100, 0x1D7FF), (0x1F300, 0x1F6FF), (0x2F800, 0x2FA1D)]


def block_string():
    low, high = random.choice(BLOCKS)
    marks = random.random() < .4
    out = ''
    for _ in range(random.randrange(1, 24)):
        out += chr(random.randint(low, high))
        if marks and random.random() < .5:
            out += chr(random.choice([0x300, 0x301, 0x323, 0x327, 0x308, 0x345, 0x200D, 0xFE0F, 0x5B0, 0x93C, 0x302B]))
        if random.random() < .1:
            out += ' '
    return out


def strings():
    found = [s.encode() for s in SAMPLES]
    found += [plane_string(plane).encode() for plane in range(17) for _ in range(8)]
    found += [''.join(random.choice(WORDS) + random.choice([' ', ' ', ', ', '  ', '']) for _ in range(n % 40)).encode()
              for n in range(250)]
    found += [bytes(random.randrange(256) for _ in range(random.randrange(1, 30))) for _ in range(60)]
    found += [b'\xc3', b'a\xe2\x82', b'\xe2\x82z', b'\xed\xa0\x80', b'\xf0\x9f\x98', b'\xc0\xaf', b'\xf4\x90\x80\x80',
              b'\xff<|endoftext|>']
    found += [s.encode() for s in ('x' * 10000, 'ab ' * 3334, 'e' + '\u0301\u0323' * 2500, '猫' * 10000, "'s" * 5000,
                                   ''.join(random.choice('abcdefghij') for _ in range(10000)))]
    found += [block_string().encode() for _ in range(1000 - len(found))]
    return found


def main():
    lines = gzip.open(sys.argv[1]).read().decode().split('\n')
    merges = lines[1:MERGES + 1]
    OUT.mkdir(exist_ok=True)
    texts = strings()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ('clip', 'small', 't5', 'saved'):
            (folder / part).mkdir()
        clip = save_clip(folder / 'clip', merges)
        small = save_clip(folder / 'small', merges[:SMALL])
        t5 = train_unigram(folder / 't5')
        for made, target in (('small/vocab.json', 'small_vocab.json'), ('small/merges.txt', 'small_merges.txt'),
                             ('t5/spiece.model', 't5.model')):
            (OUT / target).write_bytes((folder / made).read_bytes())
        for tokenizer, target in ((small, 'small_tokenizer.json'), (t5, 't5_tokenizer.json')):
            tokenizer.backend_tokenizer.save(str(OUT / target), pretty=False)
        (OUT / 'clip.packed').write_text(pack_clip(merges))
        (OUT / 'small.packed').write_text(pack_clip(merges[:SMALL]))
        (OUT / 'strings.bin').write_bytes(b''.join(struct.pack('<I', len(t)) + t for t in texts))
        for tokenizer, target in ((clip, 'clip.ids'), (small, 'small.ids'), (t5, 't5.ids')):
            rows = [tokenizer(t.decode(errors='replace'), add_special_tokens=False).input_ids for t in texts]
            (OUT / target).write_bytes(b''.join(struct.pack(f'<I{len(r)}H', len(r), *r) for r in rows))
    print(len(texts), 'strings')


main()
