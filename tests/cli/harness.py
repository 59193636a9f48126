# SPDX-License-Identifier: MIT
"""
What the tests of the command line share: running dqgen in a scratch folder, and readers for PNG and .npy that need
nothing but Python itself. The first argument of each test program is the path of dqgen.
"""
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

DQGEN = str(pathlib.Path(sys.argv.pop(1)).resolve())
ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = str(ROOT / 'tests/golden/dit/tiny.safetensors')  # 8x8, 4 channels, classes class0 .. class4
SIGMA = str(ROOT / 'tests/golden/dit/tiny_sigma.safetensors')  # the same with learned sigma: predicts noise
COMMANDS = ['generate', 'quantize', 'info', 'verify', 'compare', 'bench', 'schedulers', 'encode', 'decode']


class Case(unittest.TestCase):
    """A test case with a scratch folder, removed afterwards."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix='dqgen-test-')
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def path(self, name):
        return str(self.folder / name)

    def dqgen(self, *arguments, code=0, **keywords):
        """Run dqgen, check its exit code, return the finished process with text output."""
        done = subprocess.run([DQGEN, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, cwd=self.folder, check=False, **keywords)
        self.assertEqual(done.returncode, code, f'dqgen {arguments}\n{done.stdout}\n{done.stderr}')
        return done

    def refused(self, *arguments, code=2, says=''):
        """Run dqgen expecting an error: one message in plain words on standard error, nothing on standard output."""
        done = self.dqgen(*arguments, code=code)
        self.assertTrue(done.stderr.startswith('dqgen: '), done.stderr)
        self.assertIn(says, done.stderr)
        self.assertEqual(done.stdout, '')
        return done.stderr


def read_png(path):
    """(width, height, channels, rows of bytes) of an 8-bit PNG; checks structure and checksums."""
    data = pathlib.Path(path).read_bytes()
    if data[:8] != b'\x89PNG\r\n\x1a\n':
        raise ValueError('not a PNG')
    at, pixels, header, ended = 8, b'', None, False
    while at < len(data):
        length, kind = struct.unpack('>I4s', data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if zlib.crc32(kind + body) != struct.unpack('>I', data[at + 8 + length:at + 12 + length])[0]:
            raise ValueError(f'checksum of {kind}')
        if kind == b'IHDR':
            header = struct.unpack('>IIBBBBB', body)
        elif kind == b'IDAT':
            pixels += body
        ended = kind == b'IEND'
        at += 12 + length
    width, height, depth, colour, _, _, interlaced = header
    if depth != 8 or interlaced or not ended:
        raise ValueError('unexpected form')
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    return width, height, channels, unfilter(zlib.decompress(pixels), width * channels, height, channels)


def unfilter(raw, stride, height, step):
    if len(raw) != height * (stride + 1):
        raise ValueError('wrong amount of pixels')
    rows, above = [], bytearray(stride)
    for y in range(height):
        kind, row = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride):
            left, corner = (row[i - step], above[i - step]) if i >= step else (0, 0)
            guess = left + above[i] - corner
            paeth = min((abs(guess - v), n, v) for n, v in enumerate((left, above[i], corner)))[2]
            row[i] = (row[i] + (0, left, above[i], (left + above[i]) // 2, paeth)[kind]) & 255
        rows.append(bytes(row))
        above = row
    return rows


def read_npy(path):
    """(shape, numbers) of a little-endian float32 .npy file."""
    data = pathlib.Path(path).read_bytes()
    if data[:8] != b'\x93NUMPY\x01\x00':
        raise ValueError('not a .npy file')
    length = struct.unpack('<H', data[8:10])[0]
    header = eval(data[10:10 + length], {'__builtins__': {}})  # written by the program under test
    if header['descr'] != '<f4' or header['fortran_order'] or (10 + length) % 64:
        raise ValueError(f'unexpected header {header}')
    count = 1
    for size in header['shape']:
        count *= size
    return header['shape'], struct.unpack(f'<{count}f', data[10 + length:])


def run():
    unittest.main(verbosity=1 if os.environ.get('QUIET') else 2)
