# SPDX-License-Identifier: MIT
"""generate: PNG and .npy files, seeds, contact sheets, schedulers, progress and interruption."""
import os
import pty
import signal
import subprocess
import time

from harness import DQGEN, ROOT, Case, SIGMA, TINY, read_npy, read_png, run

FEW = ['--steps', '3']


class Pictures(Case):
    def generate(self, *arguments, model=TINY, name='a.png'):
        self.dqgen('generate', model, '-o', name, *FEW, *arguments)
        return read_png(self.path(name))

    def test_one_picture(self):
        done = self.dqgen('generate', TINY, '-o', 'a.png', *FEW, '--class', 'class2')
        self.assertRegex(done.stdout, r'^a\.png: 1 picture of 8x8, 3 steps, guidance 3, ')
        self.assertEqual(done.stderr, '')
        width, height, channels, rows = read_png(self.path('a.png'))
        self.assertEqual((width, height, channels), (8, 8, 4))
        self.assertGreater(len(set(b''.join(rows))), 4)

    def test_scale(self):
        small = self.generate('--seed', 5)[3]
        width, height, _, large = self.generate('--seed', 5, '--scale', 3)
        self.assertEqual((width, height), (24, 24))
        for y, row in enumerate(large):
            for x in range(24):
                self.assertEqual(row[4 * x:4 * x + 4], small[y // 3][x // 3 * 4:x // 3 * 4 + 4])

    def raw(self, *arguments):
        self.dqgen('generate', SIGMA, '--raw', 'a.npy', *FEW, *arguments)
        return read_npy(self.path('a.npy'))[1]

    def test_adapters(self):
        folder = ROOT / 'tests/golden/adapters'
        lora, other = f'{folder}/dit_a.safetensors', f'{folder}/dit_b.safetensors'
        plain = self.raw()
        self.assertEqual(self.raw('--lora', lora + ':0'), plain)
        full, half = self.raw('--lora', lora), self.raw('--lora', lora + ':0.5')
        self.assertNotEqual(full, plain)
        self.assertNotEqual(half, full)
        self.assertNotEqual(self.raw('--lora', lora + ':0.5', '--lora=' + other), half)
        self.refused('generate', SIGMA, '--raw', 'a.npy', '--embedding', folder / 'token_wide.safetensors', code=1,
                     says="none of the adapter's modules (1) is for this model: 'emb_params'")
        self.refused('generate', SIGMA, '--raw', 'a.npy', '--lora', 'nowhere:3', code=1, says='nowhere')

    def tile(self, sheet, column, row):
        return [line[36 * column:36 * column + 32] for line in sheet[3][9 * row:9 * row + 8]]

    def test_contact_sheet(self):
        sheet = self.generate('--seed', 10, '--count', 5)
        self.assertEqual(sheet[:3], (26, 17, 4))  # 3 columns, 2 rows, one pixel between
        for i in range(5):
            single = self.generate('--seed', 10 + i)
            self.assertEqual(self.tile(sheet, i % 3, i // 3), single[3], f'picture {i}')
        self.assertEqual(sheet[3][8], bytes(26 * 4))  # the gap is transparent
        self.assertEqual(self.tile(sheet, 2, 1), [bytes(32)] * 8)  # so is the place that is left over

    def test_classes_in_rows(self):
        sheet = self.generate('--seed', 3, '--count', 2, '--class', 'class1,class4', '--class', '0')
        self.assertEqual(sheet[:2], (17, 26))
        for row, name in enumerate(['class1', 'class4', 'class0']):
            for column in range(2):
                single = self.generate('--seed', 3 + 2 * row + column, '--class', name)
                self.assertEqual(self.tile(sheet, column, row), single[3], f'{name} {column}')

    def test_many_are_split_and_stay_the_same(self):
        self.dqgen('generate', TINY, '--raw', 'a.npy', *FEW, '--count', 35, '--seed', 100)
        shape, values = read_npy(self.path('a.npy'))
        self.assertEqual(shape, (35, 4, 8, 8))
        for i in [0, 15, 16, 34]:
            self.dqgen('generate', TINY, '--raw', 'b.npy', *FEW, '--seed', 100 + i)
            self.assertEqual(read_npy(self.path('b.npy'))[1], values[256 * i:256 * i + 256], f'picture {i}')
        sheet = self.generate('--count', 20, '--seed', 100)
        self.assertEqual(self.tile(sheet, 2, 3), self.generate('--seed', 117)[3])

    def test_seed_list(self):
        sheet = self.generate('--seeds', '7,3,7,9')
        self.assertEqual(sheet[:2], (17, 17))
        self.assertEqual(self.tile(sheet, 0, 0), self.tile(sheet, 0, 1))
        self.assertEqual(self.tile(sheet, 1, 0), self.generate('--seed', 3)[3])

    def test_noise(self):
        native = self.generate('--seed', 3)
        torch = self.generate('--seed', 3, '--noise', 'torch-cpu')
        self.assertNotEqual(native, torch)
        self.assertNotEqual(torch, self.generate('--seed', 3, '--noise', 'torch-cuda'))
        self.assertNotEqual(native, self.generate('--seed', 3, '--offset-noise', 0.5))
        sheet = self.generate('--seed', 2, '--count', 2, '--noise', 'torch-cpu')
        self.assertEqual(self.tile(sheet, 1, 0), torch[3])
        other = ['--variation-seeds', 3, '--variation-strength']
        self.assertEqual(native, self.generate('--seed', 8, *other, 1))
        self.assertNotIn(self.generate('--seed', 8, *other, 0.5), [native, self.generate('--seed', 8)])
        self.refused('generate', TINY, '-o', 'a.png', '--variation-strength', 0.5, says='no variation-seeds')

    def test_threads_and_repetition(self):
        one = self.generate('--threads', 1, '--count', 3, '--class', 'class3')
        self.assertEqual(one, self.generate('--threads', 2, '--count', 3, '--class', 'class3'))
        self.assertNotEqual(one, self.generate('--seed', 8, '--count', 3, '--class', 'class3'))

    def test_raw_and_picture_together(self):
        self.dqgen('generate', TINY, '-o', 'a.png', '--raw', 'a.npy', *FEW)
        _, values = read_npy(self.path('a.npy'))
        rows = read_png(self.path('a.png'))[3]
        for y in range(8):
            for x in range(8):
                alpha = min(max((values[192 + 8 * y + x] + 1) / 2, 0), 1)
                self.assertAlmostEqual(rows[y][4 * x + 3] / 255, alpha, delta=0.003)

    def test_schedulers(self):
        euler = self.generate('--scheduler', 'flow-euler')
        self.assertEqual(euler, self.generate())
        self.assertNotEqual(euler, self.generate('--scheduler', 'flow-heun'))
        self.assertEqual(self.generate('--scheduler', 'flow-heun'), self.generate('--solver', 'heun'))
        self.assertNotEqual(euler, self.generate('--shift', 3))
        pictures = [self.generate('--scheduler', name, model=SIGMA) for name in ['ddim', 'euler', 'heun']]
        self.assertEqual(pictures[0], self.generate(model=SIGMA))
        self.assertNotEqual(pictures[1], pictures[2])

    def test_quantized_model(self):
        self.dqgen('quantize', TINY, '-o', 'q.dqg', '-q')
        self.assertEqual(self.generate('--class', 'class1', model='q.dqg')[:3], (8, 8, 4))


class Progress(Case):
    LONG = [DQGEN, 'generate', TINY, '--steps', '1000', '--count', '16']

    def test_no_bar_in_a_pipe(self):
        self.assertEqual(self.dqgen('generate', TINY, '-o', 'a.png', *FEW).stderr, '')

    def test_bar_on_a_terminal(self):
        try:
            outer, inner = pty.openpty()
        except OSError as error:  # a container without /dev/pts
            self.skipTest(str(error))
        command = self.LONG + ['-o', self.path('a.png')]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=inner) as process:
            os.close(inner)
            text = b''
            try:
                while block := os.read(outer, 4096):
                    text += block
            except OSError:  # how a terminal without a writer ends
                pass
            self.assertEqual(process.wait(), 0)
        os.close(outer)
        self.assertRegex(text.decode(), r'generating \[#*\.*\] +\d+%')
        self.assertTrue(text.endswith(b'\r\x1b[K'))  # wiped in the end

    def test_interruption(self):
        command = self.LONG + ['-o', self.path('a.png'), '--raw', self.path('a.npy'), '--count', '4096']
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            for _ in range(200):
                if os.path.exists(self.path('a.npy')):
                    break
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
        self.assertEqual((process.returncode, output, errors), (130, '', 'dqgen: interrupted\n'))
        self.assertEqual(list(self.folder.iterdir()), [])  # nothing half written is left


run()
