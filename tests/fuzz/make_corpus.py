# SPDX-License-Identifier: MIT
"""
Writes the seed files of the fuzz targets: make_corpus.py FOLDER, which has a folder for each target.

The .dqg files are made here from docs/container.md, independently of the library; zstd frames are spelled out. Needs
libxxhash.so.0 and nothing else. --hex prints the files that tests/unit/test_container.c spells out.
"""
import base64
import collections
import ctypes
import io
import json
import pathlib
import pickle
import struct
import sys
import types
import zipfile

XXHASH = ctypes.CDLL('libxxhash.so.0')


class Hash128(ctypes.Structure):
    _fields_ = [('low', ctypes.c_uint64), ('high', ctypes.c_uint64)]


for function, result in (XXHASH.XXH3_64bits, ctypes.c_uint64), (XXHASH.XXH3_128bits, Hash128):
    function.restype = result
    function.argtypes = [ctypes.c_char_p, ctypes.c_size_t]

FRAME = 1 << 20
F32, F16, BF16, INT8, INT4, INT4Z, INT3, BIN2, VQ2, VQ4 = 1, 2, 3, 16, 17, 18, 21, 34, 35, 36
# Formats with group scales: bits, bases of a sign format, zero points.
GROUPED = {17: (4, 1, 0), 18: (4, 1, 1), 19: (2, 1, 0), 20: (2, 1, 1), 21: (3, 1, 0), 22: (3, 1, 1), 23: (5, 1, 0),
           24: (5, 1, 1), 25: (6, 1, 0), 26: (6, 1, 1), 27: (4, 1, 0), 28: (4, 1, 0), 29: (4, 1, 0), 30: (4, 1, 0),
           33: (1, 1, 0), 34: (2, 2, 0)}
BYTES = {16: 1, 31: 1, 32: 1, VQ2: 2, VQ4: 4}  # with output scales: columns for each code


def hash64(data):
    return struct.pack('<Q', XXHASH.XXH3_64bits(data, len(data)))


def hash128(data):
    value = XXHASH.XXH3_128bits(data, len(data))
    return struct.pack('<QQ', value.low, value.high)


def zstd_run(byte, count):
    """A zstd frame of count equal bytes, up to 255: content size in one byte, one run-length block."""
    return b'\x28\xb5\x2f\xfd\x20' + bytes([count]) + struct.pack('<I', count << 3 | 3)[:3] + bytes([byte])


def frames(data):
    """The frames that a plane of these bytes is stored as: (stored, codec). Runs of one byte are compressed."""
    pieces = [data[i:i + FRAME] for i in range(0, len(data), FRAME)]
    return [(zstd_run(p[0], len(p)), 1) if 10 < len(p) < 256 and len(set(p)) == 1 else (p, 0) for p in pieces]


class Tensor:
    def __init__(self, name, dtype, shape, planes, group=0, scale=1.0):
        self.name, self.dtype, self.shape, self.group, self.scale = name.encode(), dtype, shape, group, scale
        self.planes = [frames(plane) for plane in planes] + [[]] * (3 - len(planes))
        self.raw = [len(plane) for plane in planes] + [0] * (3 - len(planes))

    def record_bytes(self):
        return 24 + len(self.name) + 8 * len(self.shape) + sum(24 + 16 * len(p) for p in self.planes) + 8

    def record(self, offsets):
        """Pieces of bytes, each with a comment."""
        pieces = [
            (struct.pack('<II', self.record_bytes(), len(self.name)),
             f'record of "{self.name.decode()}": its bytes, length of the name'),
            (struct.pack('<iiI', self.dtype, self.group, len(self.shape)), 'format, group, rank'),
            (struct.pack('<f', self.scale), 'scale'),
            (self.name, 'name'),
            (b''.join(struct.pack('<q', size) for size in self.shape), 'shape')]
        for number, (plane, raw, offset) in enumerate(zip(self.planes, self.raw, offsets)):
            pieces += [(struct.pack('<QQ', raw, offset), f'plane {number}: raw bytes, offset'),
                       (struct.pack('<II', FRAME if raw else 0, len(plane)), 'bytes of a frame, number of frames')]
            for stored, codec in plane:
                pieces += [(struct.pack('<II', len(stored), codec), 'stored bytes, codec'),
                           (hash64(stored), 'XXH3-64 of the stored bytes')]
        return pieces + [(hash64(b''.join(p for p, _ in pieces)), 'XXH3-64 of the record')]


def container(tensors, metadata):
    """Pieces of a .dqg file, each with a comment."""
    entries = []
    for key, value in metadata:
        entries += [(struct.pack('<II', len(key), len(value)), 'lengths of key and value'),
                    ((key + value).encode(), f'"{key}" "{value}"')]
    entries += [(hash64(b''.join(p for p, _ in entries)), 'XXH3-64 of the metadata')]
    index_bytes = sum(len(p) for p, _ in entries) + sum(t.record_bytes() for t in tensors)
    position, records, data = 64 + index_bytes, [], []
    for tensor in tensors:
        offsets = []
        for plane in tensor.planes:
            start = (position + 63) // 64 * 64 if plane else 0
            offsets.append(start)
            if plane:
                data += [(bytes(start - position), 'zeros')] if start > position else []
                data += [(stored, tensor.name.decode()) for stored, _ in plane]
                position = start + sum(len(stored) for stored, _ in plane)
        records += tensor.record(offsets)
    header = [(b'\x89DQG\r\n\x1a\n', 'magic number'), (struct.pack('<II', 1, 0), 'version, flags'),
              (struct.pack('<Q', index_bytes), 'bytes of the index'),
              (struct.pack('<Q', position), 'bytes of the file'),
              (struct.pack('<II', len(tensors), len(metadata)), 'tensors, metadata entries'), (bytes(8), 'reserved')]
    hashed = b''.join(p for p, _ in header) + bytes(16) + b''.join(p for p, _ in entries + records)
    return header + [(hash128(hashed), 'XXH3-128 of header and index')] + entries + records + data


W = Tensor('w', F32, [2], [struct.pack('<ff', 1, 2)])
Z = Tensor('z', F32, [32], [bytes(128)])


def some_bytes(count):
    return bytes((i * 37 + i // 16 * 11) & 255 for i in range(count))


def round_up(size, step):
    return (size + step - 1) // step * step


def halves(count):
    """Scales and entries of codebooks: binary16, from 1/16 to 16."""
    return struct.pack(f'<{count}H', *(0x2c00 + i * 379 % 0x2000 for i in range(count)))


def quantized(name, dtype, shape, group=0):
    """A tensor that may be loaded: scales are positive, codes and zero points are those of the format."""
    taps = 1
    for size in shape[2:]:
        taps *= size
    rows, columns = round_up(shape[0], 16), taps * round_up(shape[1], group or 8)
    if dtype in GROUPED:
        bits, bases, zeros = GROUPED[dtype]
        scales = rows * (columns // group)
        planes = [some_bytes(rows * columns * bits // 8), halves(scales * bases)]
        planes += [bytes(byte & (1 << bits) - 1 for byte in some_bytes(scales))] if zeros else []
    else:
        codes = some_bytes(rows * columns // BYTES[dtype])
        if BYTES[dtype] == 1:  # neither -128 nor what is no number
            codes = bytes(byte & 0xbb | 1 for byte in codes)
        planes = [codes, struct.pack(f'<{rows}f', *(0.5 + i / 64 for i in range(rows)))]
        planes += [halves(256 * BYTES[dtype])] if BYTES[dtype] > 1 else []
    return Tensor(name, dtype, shape, planes, group)


def container_files():
    yield 'empty.dqg', container([], [])
    yield 'one.dqg', container([W], [('k', 'v')])
    yield 'two.dqg', container([W, Z], [])
    yield 'formats.dqg', container([
        Tensor('scalar', F16, [], [b'\x00\x3c']),
        Tensor('none', F32, [0, 3], []),
        Tensor('blocks.0.int8', INT8, [3, 9], [some_bytes(16 * 16), some_bytes(64)], scale=0.5),
        Tensor('blocks.0.int4', INT4, [2, 40], [some_bytes(16 * 64 // 2), some_bytes(2 * 2 * 16)], group=32, scale=0.5),
        Tensor('blocks.0.int4z', INT4Z, [1, 2, 3], [bytes(16 * 64 // 2), bytes(32), bytes(16)], group=64),
    ], [('family', 'dit'), ('licence', 'CC0-1.0')])
    yield 'more.dqg', container([
        Tensor('blocks.0.int3', INT3, [2, 40], [some_bytes(16 * 64 * 3 // 8), some_bytes(2 * 2 * 16)], group=32),
        Tensor('blocks.0.bin2', BIN2, [3, 9], [some_bytes(16 * 32 // 4), some_bytes(2 * 2 * 16)], group=32),
        Tensor('blocks.0.vq4', VQ4, [3, 9], [some_bytes(16 * 16 // 4), some_bytes(64), bytes(2048)]),
    ], [])
    yield 'groups.dqg', container([quantized(f'g{dtype}', dtype, [3, 9], 32) for dtype in GROUPED], [])
    yield 'bytes.dqg', container([Tensor('bf16', BF16, [3], [some_bytes(6)])] +
                                 [quantized(f'b{dtype}', dtype, [3, 9]) for dtype in BYTES], [])
    yield 'conv.dqg', container([
        quantized('down.0.conv1', INT8, [5, 3, 3, 3]), quantized('down.0.conv2', INT4Z, [2, 40, 1, 2], 32),
        quantized('mid.conv', BIN2, [2, 3, 2, 1, 2], 32), quantized('up.0.conv', VQ2, [2, 3, 2, 2]),
        Tensor('conv_in', F16, [1, 1, 2, 3], [halves(6)]),
    ], [])


def safetensors(header, data=b''):
    return struct.pack('<Q', len(header)) + header.encode() + data


def safetensors_files():
    yield 'scaled.safetensors', safetensors(
        '{"a.weight":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"F64","shape":[1],'
        '"data_offsets":[6,14]},'
        '"a.scale_weight":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}', bytes(5) + b'\x3f' + bytes(8))
    golden = ('{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},'
              '"b":{"dtype":"F16","shape":[3],"data_offsets":[16,22]}}')
    yield 'golden.safetensors', safetensors(golden, struct.pack('<ffffHHH', 1, 2, 3, 4, 0x3c00, 0xc000, 0x3800))
    yield 'empty.safetensors', safetensors('  {} ')
    yield 'metadata.safetensors', safetensors(
        '{"__metadata__":{"format":"pt","n\\u00f8te":"\\ud83d\\ude00"},"s":{"dtype":"BF16","shape":[],'
        '"data_offsets":[0,2],"more":[null,{"x":1.5e3}]},"e":{"dtype":"I64","shape":[0,7],"data_offsets":[2,2]},'
        '"f":{"dtype":"F4","shape":[2,3],"data_offsets":[2,5]}}', bytes(5))


def json_files():
    yield 'index.json', (b'{"metadata":{"total_size":12},"weight_map":{"a":"model-00001-of-00002.safetensors",'
                         b'"b":"model-00002-of-00002.safetensors"}}')
    yield 'values.json', b' [0,-1,2.5e-3,1E+9,true,false,null,"",{"a":[[]],"b":{}},9223372036854775807] '
    yield 'strings.json', '{"\\"\\\\\\/\\b\\f\\n\\r\\t":"\\u0041\\u00e9\\ud83d\\ude00","é€😀":"é€😀"}'.encode()
    yield 'deep.json', b'[[[[[[[[1]]]]]]]]'


def tokenizer_files():
    merges = ['a b', 'ab c</w>', 't h', 'th e</w>', 'p h', 'c a']
    order = [b for b in range(256) if 33 <= b <= 126 or (b >= 161 and b != 173)]
    order += [b for b in range(256) if b not in order]
    singles = [chr(b) if i < 188 else chr(256 + i - 188) for i, b in enumerate(order)]
    tokens = singles + [s + '</w>' for s in singles] + [''.join(m.split()) for m in merges]
    tokens += ['<|startoftext|>', '<|endoftext|>']
    vocab = json.dumps({token: i for i, token in enumerate(tokens)}, ensure_ascii=False)
    yield 'vocab_merges', (vocab + '\0#version: 0.2\n' + '\n'.join(merges)).encode()
    yield 'bpe.json', (f'{{"added_tokens":[{{"id":519,"content":"<|endoftext|>"}}],"model":{{"type":"BPE",'
                       f'"unk_token":"<|endoftext|>","end_of_word_suffix":"</w>","vocab":{vocab},'
                       f'"merges":{json.dumps([m.split() for m in merges[:3]] + merges[3:])}}}}}').encode()
    # a charsmap that makes "f" an "X": its root, the unit of "f", its value
    units = {0: 0x100 << 10, 0x166: 0x66 | 1 << 8 | 1 << 10, 0x167: 1 << 31}
    trie = b''.join(struct.pack('<I', units.get(i, 0)) for i in range(0x168))
    charsmap = struct.pack('<I', len(trie)) + trie + b'X\0'
    rules = base64.b64encode(charsmap).decode()
    pieces = [('<pad>', 0), ('</s>', 0), ('<unk>', 0), ('▁', -2), ('a', -3), ('b', -3), ('ab', -2.5), ('▁A', -4.25)]
    yield 'unigram.json', (f'{{"added_tokens":[{{"id":1,"content":"</s>"}}],"normalizer":{{"type":"Sequence",'
                           f'"normalizers":[{{"precompiled_charsmap":"{rules}"}}]}},"model":{{"type":"Unigram",'
                           f'"unk_id":2,"vocab":{json.dumps(pieces)}}}}}').encode()
    kinds = [3, 3, 2, 1, 1, 1, 1, 1]
    message = b''
    for (text, score), kind in zip(pieces, kinds):
        inner = bytes([10, len(text.encode())]) + text.encode() + b'\x15' + struct.pack('<f', score) + bytes([24, kind])
        message += bytes([10, len(inner)]) + inner
    size = len(charsmap)
    rules = bytes([18, size & 127 | 128, size >> 7]) + charsmap
    size = len(rules)
    yield 'pieces.model', message + bytes([18, 2, 24, 1, 26, size & 127 | 128, size >> 7]) + rules


def gguf_text(text):
    return struct.pack('<Q', len(text)) + text.encode()


def gguf(keys, tensors, data, version=3):
    """keys: (name, type, bytes); tensors: (name, sizes, type, offset)."""
    header = b'GGUF' + struct.pack('<IQQ', version, len(tensors), len(keys))
    header += b''.join(gguf_text(key) + struct.pack('<I', kind) + value for key, kind, value in keys)
    for name, sizes, kind, offset in tensors:
        header += gguf_text(name) + struct.pack(f'<I{len(sizes)}Q', len(sizes), *sizes)
        header += struct.pack('<IQ', kind, offset)
    return header + bytes(-len(header) % 32) + data


def gguf_files():
    golden = [('general.architecture', 8, gguf_text('sd1')), ('general.alignment', 4, struct.pack('<I', 32)),
              ('comfy.gguf.orig_shape.w', 9, struct.pack('<IQ4i', 5, 4, 2, 32, 1, 1))]
    yield 'golden.gguf', gguf(golden, [('w', (32, 2), 2, 0), ('b', (2,), 0, 64)],
                              bytes(range(18)) * 2 + bytes(28) + struct.pack('<ff', 1.5, -2))
    blocks = {2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 20: (32, 18), 10: (256, 84),
              11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 23: (256, 136), 0: (1, 4), 1: (1, 2),
              24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2)}
    tensors, data = [], b''
    for kind, (values, size) in blocks.items():
        tensors.append((f't{kind}', (values, 2), kind, len(data)))
        data += some_bytes(2 * size) + bytes(-2 * size % 32)
    values = [(f'k{kind}', kind, some_bytes(size)) for kind, size in enumerate((1, 1, 2, 2, 4, 4, 4, 1))]
    values += [(f'k{kind}', kind, some_bytes(8)) for kind in (10, 11, 12)]
    values += [('texts', 9, struct.pack('<IQ', 8, 2) + gguf_text('a"') + gguf_text('')),
               ('floats', 9, struct.pack('<IQff', 6, 2, 1.5, -2)), ('bytes', 9, struct.pack('<IQ', 0, 3) + b'abc')]
    yield 'types.gguf', gguf(values, tensors, data)
    names = ('token_embd.weight', 'enc.blk.0.attn_q.weight', 'enc.blk.0.ffn_gate.weight', 'enc.output_norm.weight')
    yield 't5.gguf', gguf([], [(name, (2,), 0, 32 * i) for i, name in enumerate(names)], bytes(128), version=2)


class Storage:
    """A storage of a PyTorch checkpoint: its class, key and number of elements."""

    def __init__(self, kind, key, count):
        self.kind, self.key, self.count = kind, key, count


class TensorOf:
    """A tensor; pickled as PyTorch does."""

    def __init__(self, *arguments, function='_rebuild_tensor_v2'):
        self.arguments, self.function = arguments + (False, None), function

    def __reduce__(self):
        return getattr(TORCH_UTILS, self.function), self.arguments


# PyTorch's names for the pickler, which looks them up.
TORCH = types.ModuleType('torch')
TORCH_UTILS = types.ModuleType('torch._utils')
for _name in 'FloatStorage', 'HalfStorage', 'LongStorage':
    setattr(TORCH, _name, type(_name, (), {'__module__': 'torch'}))
for _name in '_rebuild_tensor_v2', '_rebuild_parameter':
    _function = types.FunctionType((lambda *_: None).__code__, {}, _name)
    _function.__module__, _function.__qualname__ = 'torch._utils', _name
    setattr(TORCH_UTILS, _name, _function)
sys.modules['torch'], sys.modules['torch._utils'] = TORCH, TORCH_UTILS


def torch_pickle(value, protocol=2, legacy=False):
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if not isinstance(obj, Storage):
                return None
            return ('storage', obj.kind, obj.key, 'cpu', obj.count) + ((None,) if legacy else ())

    out = io.BytesIO()
    Pickler(out, protocol).dump(value)
    return out.getvalue()


def torch_values():
    floats, halves = Storage(TORCH.FloatStorage, '0', 6), Storage(TORCH.HalfStorage, '1', 4)
    state = collections.OrderedDict(w=TensorOf(floats, 0, (2, 3), (3, 1)), t=TensorOf(floats, 0, (3, 2), (1, 3)),
                                    b=TensorOf(halves, 2, (2,), (1,)), s=TensorOf(halves, 0, (), ()),
                                    e=TensorOf(floats, 3, (4, 2), (0, 1)), n=TensorOf(floats, 0, (0, 3), (3, 1)))
    training = {'model': {'module.' + name: value for name, value in state.items()}, 'ema': {'module.w': state['b']},
                'opt': {'state': {0: state['w']}}, 'epoch': 3, 'lr': 1e-4, 'name': 'x', 'list': [1, (2, 3), None, True],
                'big': 1 << 80, 'set': {1, 2}, 'bytes': b'abc', 'long': -300, 'path': pathlib.PurePosixPath('a')}
    return state, training


STORAGES = struct.pack('<6f', *range(6)), struct.pack('<4H', 0x3c00, 0x4000, 0x4200, 0xc400)


def pickle_files():
    state, training = torch_values()
    for protocol in 2, 3, 4, 5:
        yield f'state{protocol}.pkl', torch_pickle(state, protocol)
        yield f'training{protocol}.pkl', torch_pickle(training, protocol)
    yield 'lines.pkl', b'\x80\x02}(S\'a\'\nI7\nVb\nL8L\nF1.5\nI01\nU\x01cN\x8f(K\x01\x90\x30\x320u.'


def archive(entries, large=False):
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as made:
        for name, data in entries:
            with made.open(zipfile.ZipInfo(name), 'w', force_zip64=large) as entry:
                entry.write(data)
    return out.getvalue()


def torch_files():
    state, training = torch_values()
    for name, value in ('state.pt', state), ('training.pt', training):
        yield name, archive([('x/data.pkl', torch_pickle(value)), ('x/byteorder', b'little'),
                             ('x/data/0', STORAGES[0]), ('x/data/1', STORAGES[1]), ('x/version', b'3\n')],
                            large=value is training)
    magic = 0x1950a86a20f9469cfc6c
    row = [pickle.dumps(magic, 2), pickle.dumps(1001, 2), pickle.dumps({'little_endian': True}, 2),
           torch_pickle(state, legacy=True), pickle.dumps(['1', '0'], 2)]
    yield 'old.pt', b''.join(row) + struct.pack('<q', 4) + STORAGES[1] + struct.pack('<q', 6) + STORAGES[0]


def array(header, data, version=1):
    before = b'\x93NUMPY' + bytes([version, 0])
    length = struct.pack('<H', 118) if version == 1 else struct.pack('<I', 116)
    return (before + length + header.encode()).ljust(127) + b'\n' + data


def numpy_files():
    floats = array("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", STORAGES[0])
    yield 'floats.npy', floats
    yield 'columns.npy', array("{'descr': '<f2', 'fortran_order': True, 'shape': (2, 2)}", STORAGES[1], version=2)
    yield 'scalar.npy', array("{'descr': '<f8', 'fortran_order': False, 'shape': ()}", bytes(8), version=3)
    yield 'both.npz', archive([('a.npy', floats), ('b.npy', array(
        "{'descr': '|b1', 'fortran_order': False, 'shape': (3,)}", b'\1\0\1'))])


def print_hex(name, pieces):
    print(f'static const uint8_t {name}[{sum(len(p) for p, _ in pieces)}] = {{')
    for data, comment in pieces:
        if len(data) > 16 and not any(data):
            print(f'    /* {comment} */')
            rows = [data[i:i + 24] for i in range(0, len(data), 24)]
            print('\n'.join('    ' + ' '.join('0,' for _ in row) for row in rows))
        else:
            for i in range(0, len(data), 8):
                row = ' '.join(f'0x{byte:02x},' for byte in data[i:i + 8])
                print(f'    {row}' + (f' /* {comment} */' if i == 0 else ''))
    print('};')


def main():
    if sys.argv[1] == '--hex':
        print_hex('one_tensor', container([W], [('k', 'v')]))
        print_hex('two_tensors', container([W, Z], []))
        return
    for kind, made in (('container', container_files()), ('safetensors', safetensors_files()), ('json', json_files()),
                       ('gguf', gguf_files()), ('pickle', pickle_files()), ('torch', torch_files()),
                       ('numpy', numpy_files()), ('tokenizer', tokenizer_files())):
        (pathlib.Path(sys.argv[1]) / kind).mkdir(exist_ok=True)
        for name, contents in made:
            data = contents if isinstance(contents, bytes) else b''.join(piece for piece, _ in contents)
            (pathlib.Path(sys.argv[1]) / kind / name).write_bytes(data)


main()
