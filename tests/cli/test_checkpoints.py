# SPDX-License-Identifier: MIT
"""One network in every kind of checkpoint: verified, loaded, and quantized to the same file."""
import json
import pathlib
import pickle
import struct
import sys
import types
import zipfile

from harness import Case, ROOT, TINY, run

# Numbers of GGUF, and storages of PyTorch, for the types of the test's network.
TYPES = {'F32': (0, 'FloatStorage', 4), 'F16': (1, 'HalfStorage', 2), 'BF16': (30, 'BFloat16Storage', 2)}


def read_safetensors(path):
    """Metadata, and (name, type, shape, bytes) for each tensor in the order of the file."""
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack('<Q', data[:8])[0]
    header = json.loads(data[8:8 + size])
    metadata = header.pop('__metadata__', {})
    entries = sorted(header.items(), key=lambda entry: entry[1]['data_offsets'])
    return metadata, [(name, entry['dtype'], entry['shape'],
                       data[8 + size + entry['data_offsets'][0]:8 + size + entry['data_offsets'][1]])
                      for name, entry in entries]


def text(value):
    return struct.pack('<Q', len(value.encode())) + value.encode()


def write_gguf(path, metadata, tensors):
    out = b'GGUF' + struct.pack('<IQQ', 3, len(tensors), len(metadata))
    out += b''.join(text(key) + struct.pack('<I', 8) + text(value) for key, value in metadata.items())
    blob = b''
    for name, kind, shape, data in tensors:
        out += text(name) + struct.pack(f'<I{len(shape)}Q', len(shape), *reversed(shape))
        out += struct.pack('<IQ', TYPES[kind][0], len(blob))
        blob += data + bytes(-len(data) % 32)
    path.write_bytes(out + bytes(-len(out) % 32) + blob)


class Tensor:
    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return sys.modules['torch._utils']._rebuild_tensor_v2, self.arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj if isinstance(obj, tuple) and obj[:1] == ('storage',) else None


def write_torch(path, tensors):
    torch, utils = types.ModuleType('torch'), types.ModuleType('torch._utils')
    function = types.FunctionType((lambda *_: None).__code__, {}, '_rebuild_tensor_v2')
    function.__module__, function.__qualname__ = 'torch._utils', '_rebuild_tensor_v2'
    utils._rebuild_tensor_v2 = function
    for _, name, _ in TYPES.values():
        setattr(torch, name, type(name, (), {'__module__': 'torch'}))
    sys.modules['torch'], sys.modules['torch._utils'] = torch, utils
    state = {}
    with zipfile.ZipFile(path, 'w') as archive:
        for number, (name, kind, shape, data) in enumerate(tensors):
            strides = [1]
            for size in reversed(shape[1:]):
                strides.insert(0, strides[0] * size)
            storage = ('storage', getattr(torch, TYPES[kind][1]), str(number), 'cpu', len(data) // TYPES[kind][2])
            state[name] = Tensor(storage, 0, tuple(shape), tuple(strides[:len(shape)]), False, None)
            archive.writestr(f'x/data/{number}', data)
        with archive.open('x/data.pkl', 'w') as entry:
            Pickler(entry, 2).dump({'state_dict': state, 'epoch': 1})
    del sys.modules['torch'], sys.modules['torch._utils']


class Checkpoints(Case):
    def test_every_kind(self):
        metadata, tensors = read_safetensors(TINY)
        write_gguf(self.folder / 'a.gguf', metadata, tensors)
        write_torch(self.folder / 'a.pt', tensors)
        network = self.folder / 'model' / 'transformer'
        network.mkdir(parents=True)
        (network / 'diffusion_pytorch_model.safetensors').write_bytes(pathlib.Path(TINY).read_bytes())
        (network / 'config.json').write_text('{"a": "' + 1000 * 'b' + '"}')
        self.dqgen('quantize', TINY, '-o', 'a.dqg')
        want = json.loads(self.dqgen('info', 'a.dqg', '--json', '--tensors').stdout)
        said = [part for key, value in metadata.items() for part in ('--meta', f'{key}={value}')]
        for name in 'a.gguf', 'a.pt', 'model', 'model/transformer':
            self.assertIn(f'{name}: good', self.dqgen('verify', name).stdout)
            self.dqgen('quantize', name, '-o', 'b.dqg', *(said if name in ('a.pt', 'model') else []))
            info = json.loads(self.dqgen('info', 'b.dqg', '--json', '--tensors').stdout)
            self.assertEqual(info['tensors'], want['tensors'])
            if name == 'a.gguf':  # all the same, classes and notes too
                self.assertEqual((self.folder / 'a.dqg').read_bytes(), (self.folder / 'b.dqg').read_bytes())
        self.assertIn('bbb ...', self.dqgen('info', 'model/transformer').stdout)

    def test_refused(self):
        metadata, tensors = read_safetensors(TINY)
        write_gguf(self.folder / 'a.gguf', metadata, tensors)
        data = (self.folder / 'a.gguf').read_bytes()
        (self.folder / 'short.gguf').write_bytes(data[:len(data) // 2])
        self.refused('verify', 'short.gguf', code=1, says='download it again')
        (self.folder / 'empty').mkdir()
        self.refused('info', 'empty', code=1, says='folder without weights')


class Variants(Case):
    """A PixArt that tells nothing of itself is asked about."""

    def setUp(self):
        super().setUp()
        metadata, tensors = read_safetensors(ROOT / 'tests/golden/pixart/alpha_diffusers.safetensors')
        header, data = {'__metadata__': {'num_heads': '2'}}, b''
        for name, kind, shape, values in tensors:
            header[name] = {'dtype': kind, 'shape': shape, 'data_offsets': [len(data), len(data) + len(values)]}
            data += values
        self.assertIn('config.json', metadata)
        body = json.dumps(header).encode()
        pathlib.Path(self.path('a.safetensors')).write_bytes(struct.pack('<Q', len(body)) + body + data)

    def test_asked(self):
        choices = 'alpha-256, alpha-512, alpha-1024, sigma-256, sigma-512, sigma-1024, sigma-2048'
        self.refused('info', 'a.safetensors', code=1, says=choices)
        self.refused('info', 'a.safetensors', '--variant', 'beta', code=1, says='alpha-256')
        self.assertIn('64x64', self.dqgen('info', 'a.safetensors', '--variant', 'sigma-512').stdout)

    def test_noted(self):
        self.dqgen('quantize', 'a.safetensors', '-o', 'a.dqg', '--variant', 'sigma-256')
        self.assertIn('32x32', self.dqgen('info', 'a.dqg').stdout)
        self.dqgen('quantize', 'a.safetensors', '-o', 'b.dqg', '--meta', 'variant=alpha-1024')
        self.assertIn('128x128', self.dqgen('info', 'b.dqg').stdout)
        self.dqgen('quantize', 'a.safetensors', '-o', 'c.dqg')
        self.refused('info', 'c.dqg', code=1, says='sigma-2048')
        self.assertIn('256x256', self.dqgen('info', 'c.dqg', '--variant', 'sigma-2048').stdout)


run()
