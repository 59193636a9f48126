# SPDX-License-Identifier: MIT
"""Pictures to follow: control networks beside a pipeline and in it, adapted, at 4 bits; sizes and what is refused."""
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import zlib

MAKE = str(pathlib.Path(sys.argv.pop(2)).resolve())

from harness import ROOT, TINY, Case, read_npy, read_png, run  # noqa: E402

PARTS = 1 | 16 | 32 | 64  # text_encoder, unet, vae, controlnet: see pipeline_folder.h
DRAW = ['-o', 'a.png', '--prompt', 'a photo of a lighthouse', '--steps', '2', '--seed', '7']


def write_png(path, width, height, pixel):
    def chunk(kind, body):
        return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
    rows = b''.join(b'\0' + bytes(value for x in range(width) for value in pixel(x, y)) for y in range(height))
    pathlib.Path(path).write_bytes(
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)) +
        chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))


class Controls(Case):
    """A pipeline 'sd' with its control network in a folder 'control' of its own; pictures of 24x32 and 32x32."""

    def setUp(self):
        super().setUp()
        (self.folder / 'sd').mkdir()
        subprocess.run([MAKE, self.path('sd'), str(PARTS)], cwd=ROOT, check=True)
        shutil.copytree(self.folder / 'sd', self.folder / 'both')
        shutil.move(self.folder / 'sd/controlnet', self.folder / 'control')
        write_png(self.path('edges.png'), 24, 32, lambda x, y: (255 * (x > y), 255 * (x + y > 20), 9 * x))
        write_png(self.path('black.png'), 24, 32, lambda x, y: (0, 0, 0))

    def draw(self, model, *arguments):
        self.dqgen('generate', model, *DRAW, *arguments)
        return read_png(self.path('a.png'))

    def test_beside_and_inside(self):
        plain = self.draw('sd', '--size', '24x32')
        follow = ['--controlnet', 'control', '--control', 'edges.png']
        picture = self.draw('sd', *follow)
        self.assertEqual(picture[:3], (24, 32, 3))
        self.assertNotEqual(picture, plain)
        self.assertEqual(self.draw('sd', *follow, '--size', '24x32'), picture)
        self.assertEqual(self.draw('sd', *follow, '--resident'), picture)
        self.assertEqual(self.draw('both', '--control', 'edges.png'), picture)
        self.assertEqual(self.draw('both', *follow), picture)
        self.assertEqual(self.draw('both', '--size', '24x32'), plain)
        self.assertEqual(self.draw('sd', *follow, '--control-scale', '1'), picture)
        self.assertEqual(self.draw('sd', *follow, '--control-scale', '0'), plain)
        for other in [['--control-scale', '0.5'], ['--control', 'black.png'], ['--guidance', '1']]:
            self.assertNotIn(self.draw('sd', *follow, *other), [picture, plain])

    def test_both_sides_are_told(self):
        """Where the negative prompt is the prompt, guidance has nothing to point to: not to the picture either."""
        def numbers(guidance):
            self.dqgen('generate', 'both', '--raw', 'a.npy', *DRAW[2:], '--negative', DRAW[3], '--control', 'edges.png',
                       '--guidance', guidance)
            return read_npy(self.path('a.npy'))[1]
        for a, b in zip(numbers('2'), numbers('9')):
            self.assertAlmostEqual(a, b, delta=1e-3)

    def test_quantized(self):
        self.dqgen('quantize', 'control', '-o', 'control.dqg')
        self.dqgen('quantize', 'sd', '-o', 'sd.dqg')
        self.dqgen('quantize', 'both', '-o', 'both.dqg')
        self.assertIn('controlnet', self.dqgen('info', 'control.dqg').stdout)
        told = json.loads(self.dqgen('info', 'both.dqg', '--json').stdout)
        self.assertEqual(sorted(n['role'] for n in told['networks']), ['clip', 'controlnet', 'denoiser', 'vae'])
        picture = self.draw('sd.dqg', '--controlnet', 'control.dqg', '--control', 'edges.png')
        self.assertEqual(self.draw('both.dqg', '--control', 'edges.png'), picture)
        self.assertNotEqual(self.draw('sd.dqg', '--size', '24x32'), picture)

    def test_several_pictures_and_numbers(self):
        follow = ['--controlnet', 'control', '--control', 'edges.png']
        first = self.draw('sd', *follow)
        sheet = self.draw('sd', *follow, '--count', '2')
        self.assertEqual(sheet[:2], (49, 32))
        self.assertEqual([row[:24 * 3] for row in sheet[3]], first[3])

    def test_adapted(self):
        follow = ['--controlnet', 'control', '--control', 'edges.png']
        down, up = [[0.05 * (i % 7 - 3) for i in range(n)] for n in (2 * 4 * 9, 32 * 2)]
        header = json.dumps({
            'lora_unet_conv_in.lora_down.weight': {'dtype': 'F32', 'shape': [2, 4, 3, 3], 'data_offsets': [0, 288]},
            'lora_unet_conv_in.lora_up.weight': {'dtype': 'F32', 'shape': [32, 2], 'data_offsets': [288, 544]},
        }).encode()
        (self.folder / 'lora.safetensors').write_bytes(
            struct.pack('<Q', len(header)) + header + struct.pack('<136f', *down, *up))
        plain, adapted = self.draw('sd', *follow), self.draw('sd', *follow, '--lora', 'lora.safetensors:4')
        self.assertNotEqual(adapted, plain)
        self.assertEqual(self.draw('both', '--control', 'edges.png', '--lora', 'lora.safetensors:4'), adapted)
        self.assertNotEqual(self.draw('sd', '--size', '24x32', '--lora', 'lora.safetensors:4'), adapted)

    def test_refused(self):
        follow = ['--controlnet', 'control', '--control', 'edges.png']
        write_png(self.path('odd.png'), 25, 32, lambda x, y: (x, y, 0))
        said = self.refused('generate', 'sd', *DRAW, *follow, '--size', '32x32', code=1, says='24x32')
        self.assertIn('32x32', said)
        self.refused('generate', 'sd', *DRAW, *follow, '--control', 'odd.png', code=1, says='multiples of 2')
        self.refused('generate', 'sd', *DRAW, '--controlnet', 'control', says='--control PICTURE.png')
        self.refused('generate', 'sd', *DRAW, '--control-scale', '1', says='--control PICTURE.png')
        self.refused('generate', 'sd', *DRAW, *follow, '--control-scale', 'much', says='takes a number')
        self.refused('generate', 'sd', *DRAW, '--control', 'edges.png', code=1, says='--controlnet')
        self.refused('generate', 'sd', *DRAW, '--control', 'none.png', '--controlnet', 'control', code=1,
                     says='none.png')
        self.refused('generate', 'sd', *DRAW, '--controlnet', 'sd', '--control', 'edges.png', code=1,
                     says='no control network')
        self.refused('generate', TINY, *DRAW[:2], *follow, code=1, says='control network')
        self.assertFalse((self.folder / 'a.png').exists())


if __name__ == '__main__':
    run()
