# SPDX-License-Identifier: MIT
"""encode and decode: pictures and latents against recorded ones, tiles, scales, drawn latents, refusals."""
import array
import json
import struct
import zlib

from harness import Case, ROOT, TINY, read_npy, read_png, run

GOLDEN = ROOT / 'tests/golden/autoencoder'


def weight(name, shape):
    """The numbers of a tensor, as tests/golden/make_autoencoder_golden.py has them."""
    seed, count, fan = 2166136261, 1, 1
    for byte in name.encode():
        seed = (seed ^ byte) * 16777619 & 0xffffffff
    for i, size in enumerate(shape):
        count *= size
        fan *= size if i else 1
    scale = 0.2 if len(shape) == 1 else (3 / fan) ** 0.5
    offset = 1 if len(shape) == 1 and name.endswith('.weight') else 0
    values = array.array('f')
    for i in range(count):
        h = i * 2654435769 + seed & 0xffffffff
        h = (h ^ h >> 16) * 0x7feb352d & 0xffffffff
        h = (h ^ h >> 15) * 0x846ca68b & 0xffffffff
        values.append((((h ^ h >> 16) >> 8) / 2**23 - 1) * scale + offset)
    return values.tobytes()


def write_model(path, case, side='', metadata=None):
    """A safetensors file under diffusers' names; side: only tensors that begin with it."""
    header, data = {'__metadata__': metadata or {}}, b''
    for line in (GOLDEN / f'{case}.txt').read_text().splitlines():
        name, _, *shape = line.split()
        if name.startswith(side):
            values = weight(name, [int(n) for n in shape])
            header[name] = {'dtype': 'F32', 'shape': [int(n) for n in shape],
                            'data_offsets': [len(data), len(data) + len(values)]}
            data += values
    text = json.dumps(header).encode()
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text + data)


def write_npy(path, shape, values):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {tuple(shape)}, }}".encode()
    header += b' ' * (63 - (10 + len(header)) % 64) + b'\n'
    with open(path, 'wb') as file:
        file.write(b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header)
        file.write(struct.pack(f'<{len(values)}f', *values))


def write_png(path, width, height, rows):
    """8-bit RGB."""
    def chunk(kind, body):
        return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
    raw = zlib.compress(b''.join(b'\0' + bytes(row) for row in rows))
    with open(path, 'wb') as file:
        file.write(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)) +
                   chunk(b'IDAT', raw) + chunk(b'IEND', b''))


def first(part, case='tiny4_4x4'):
    """The first of two recorded samples: its shape (1, ...) and numbers."""
    shape, values = read_npy(GOLDEN / f'{case}_{part}.npy')
    return (1, *shape[1:]), values[:len(values) // 2]


class Conversions(Case):
    def setUp(self):
        super().setUp()
        write_model(self.path('vae.safetensors'), 'tiny4')
        shape, values = first('z')
        write_npy(self.path('z.npy'), shape, values)
        (_, _, height, width), values = first('x')
        self.rows = [[round(255 * values[(c * height + y) * width + x]) for x in range(width) for c in range(3)]
                     for y in range(height)]
        write_png(self.path('x.png'), width, height, self.rows)

    def decode(self, *arguments, model='vae.safetensors', latent='z.npy'):
        self.dqgen('decode', model, latent, '-o', 'out.png', *arguments)
        return read_png(self.path('out.png'))

    def encode(self, *arguments, model='vae.safetensors'):
        self.dqgen('encode', model, 'x.png', '-o', 'out.npy', *arguments)
        return read_npy(self.path('out.npy'))

    def test_decode(self):
        width, height, channels, rows = self.decode()
        self.assertEqual((width, height, channels), (32, 32, 3))
        _, expected = first('dec')
        for y in range(32):
            for i in range(96):
                self.assertLessEqual(abs(rows[y][i] - 255 * expected[(i % 3 * 32 + y) * 32 + i // 3]), 0.51)

    def test_encode(self):
        shape, latent = self.encode()
        expected_shape, expected = first('enc')
        self.assertEqual(shape, expected_shape)
        for a, b in zip(latent, expected):
            self.assertAlmostEqual(a, b, delta=0.02)  # the picture was rounded to 8 bits

    def test_there_and_back(self):
        self.encode()
        self.assertEqual(self.decode(latent='out.npy')[:3], (32, 32, 3))

    def test_tiles(self):
        shape, values = first('z')
        large = [values[(c * 4 + y % 4) * 4 + x % 4] * (0.5 + x / 40)
                 for c in range(4) for y in range(20) for x in range(24)]
        write_npy(self.path('large.npy'), (1, 4, 20, 24), large)
        whole = self.decode(latent='large.npy')
        tiled = self.decode('--tile', 8, latent='large.npy')
        self.assertEqual(whole[:3], (192, 160, 3))
        self.assertLessEqual(max(abs(a - b) for p, q in zip(whole[3], tiled[3]) for a, b in zip(p, q)), 1)

    def test_scale_and_shift(self):
        plain = self.decode()
        shape, values = first('z')
        write_npy(self.path('scaled.npy'), shape, [(v - 0.25) * 0.5 for v in values])
        self.assertEqual(self.decode('--scale', 0.5, '--shift', 0.25, latent='scaled.npy'), plain)
        self.assertNotEqual(self.decode(latent='scaled.npy'), plain)
        write_model(self.path('told.safetensors'), 'tiny4', metadata={'scaling_factor': '0.5', 'shift_factor': '0.25'})
        self.assertEqual(self.decode(model='told.safetensors', latent='scaled.npy'), plain)

    def test_drawn(self):
        write_model(self.path('kl.safetensors'), 'kl4')
        mean = self.encode(model='kl.safetensors')[1]
        one = self.encode('--sample', '--seed', 1, model='kl.safetensors')
        self.assertEqual(one[0], (1, 4, 16, 16))
        self.assertEqual(self.encode('--sample', '--seed', 1, model='kl.safetensors'), one)
        self.assertNotEqual(self.encode('--sample', '--seed', 2, model='kl.safetensors'), one)
        self.assertNotEqual(one[1], mean)
        # Stable Diffusion's scale where nothing tells another.
        other = self.encode('--scale', 0.36430, model='kl.safetensors')[1]
        for a, b in zip(other, mean):
            self.assertAlmostEqual(a, 2 * b, places=4)

    def test_quantized(self):
        self.dqgen('quantize', 'vae.safetensors', '-o', 'vae.dqg', '--bits', 8)
        plain, small = self.decode(), self.decode(model='vae.dqg')
        self.assertLess(max(abs(a - b) for p, q in zip(plain[3], small[3]) for a, b in zip(p, q)), 40)

    def test_refused(self):
        self.refused('decode', 'vae.safetensors', 'z.npy', says='-o')
        self.refused('decode', 'vae.safetensors', 'z.npy', '-o', 'a.png', '--scale', 'x', says='--scale')
        self.refused('decode', 'vae.safetensors', 'z.npy', '-o', 'a.png', '--scale', -1, says='scale')
        self.refused('decode', 'vae.safetensors', 'z.npy', '-o', 'a.png', '--tile', -1, says='--tile')
        self.refused('decode', 'vae.safetensors', 'x.png', '-o', 'a.png', code=1, says='x.png')
        self.refused('decode', 'vae.safetensors', 'no.npy', '-o', 'a.png', code=1, says='no.npy')
        self.refused('decode', TINY, 'z.npy', '-o', 'a.png', code=1, says='no autoencoder')
        self.refused('encode', 'vae.safetensors', 'z.npy', '-o', 'a.npy', code=1, says='z.npy')
        write_npy(self.path('three.npy'), (1, 3, 4, 4), [0] * 48)
        self.refused('decode', 'vae.safetensors', 'three.npy', '-o', 'a.png', says='latents')
        write_png(self.path('x.png'), 30, 32, [row[:90] for row in self.rows])
        self.refused('encode', 'vae.safetensors', 'x.png', '-o', 'a.npy', says='multiples of 8')

    def test_halves(self):
        write_model(self.path('decoder.safetensors'), 'tiny4', 'decoder.')
        self.assertEqual(self.decode(model='decoder.safetensors'), self.decode())
        self.refused('encode', 'decoder.safetensors', 'x.png', '-o', 'a.npy', code=1, says='encoder')


if __name__ == '__main__':
    run()
