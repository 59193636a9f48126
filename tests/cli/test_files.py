# SPDX-License-Identifier: MIT
"""quantize, info and verify: from a checkpoint to a file, what is said about it, and damage found in it."""
import json
import pathlib

from harness import Case, TINY, run


class Quantize(Case):
    def test_quantize_info_verify(self):
        done = self.dqgen('quantize', TINY, '-o', 'a.dqg')
        self.assertIn('a.dqg: written in', done.stdout)
        self.assertEqual(done.stderr, '')
        self.assertEqual(self.dqgen('verify', 'a.dqg', TINY).stdout.count(': good ('), 2)
        info = json.loads(self.dqgen('info', 'a.dqg', '--json', '--tensors').stdout)
        self.assertEqual(info['family'], 'dit')
        self.assertEqual((info['channels'], info['height'], info['width'], info['patch_size']), (4, 8, 8, 2))
        self.assertEqual(info['classes'], [f'class{i}' for i in range(5)])
        self.assertEqual(info['file_bytes'], (self.folder / 'a.dqg').stat().st_size)
        self.assertIn('int4', info['storage'])
        tensors = {tensor['name']: tensor for tensor in info['tensors']}
        self.assertEqual(tensors['blocks.0.attn.qkv.weight']['shape'], [192, 64])
        self.assertEqual(sum(s['tensors'] for s in info['storage'].values()), len(tensors))

    def test_info_text(self):
        text = self.dqgen('info', TINY, '--tensors').stdout
        for part in ['dit', 'class0 class1 class2 class3 class4', 'provenance', 'blocks.1.mlp.fc2.weight', '64x256']:
            self.assertIn(part, text)
        self.assertNotIn('blocks.1.mlp', self.dqgen('info', TINY).stdout)

    def test_info_text_encoders(self):
        wide = pathlib.Path(TINY).parent.parent / 'encoders' / 'clip_wide.safetensors'
        info = json.loads(self.dqgen('info', wide, '--json').stdout)
        self.assertEqual(info['family'], 'clip')
        self.assertEqual([(t['role'], t['columns'], t['tokens'], t['projection']) for t in info['text_encoders']],
                         [('clip', 128, 14, 96)])
        text = self.dqgen('info', wide).stdout
        self.assertIn('clip: clip, 128 columns in 2 layers', text)
        self.assertNotIn('picture', text)

    def test_options_rules_and_report(self):
        self.dqgen('quantize', TINY, '-o', 'b.dqg', '--bits', 4, '--group=64', '--zero-point', '--search', 4, '--rule',
                   'blocks.0.*=int8', '--rule', 'blocks.1.mlp.*=f16', '--meta', 'note=a=b', '--report', 'b.json')
        info = json.loads(self.dqgen('info', 'b.dqg', '--json', '--tensors').stdout)
        tensors = {tensor['name']: tensor for tensor in info['tensors']}
        self.assertEqual(tensors['blocks.0.attn.qkv.weight']['format'], 'int8')
        self.assertEqual(tensors['blocks.1.mlp.fc1.weight']['format'], 'f16')
        self.assertEqual(tensors['blocks.1.attn.qkv.weight']['format'], 'int4z')
        self.assertEqual(tensors['blocks.1.attn.qkv.weight']['group'], 64)
        self.assertEqual(info['metadata']['note'], 'a=b')
        report = json.loads((self.folder / 'b.json').read_text(encoding='utf-8'))
        errors = {tensor['name']: tensor['error'] for tensor in report['tensors']}
        self.assertLess(errors['blocks.0.attn.qkv.weight'], 0.02)
        self.assertTrue(0.02 < errors['blocks.1.attn.qkv.weight'] < 0.2)

    def test_switch_values(self):
        for arguments, expected in [(['--zero-point', '0'], 'int4'), (['--zero-point', '1'], 'int4z'),
                                    (['--zero-point=0'], 'int4'), (['--zero-point'], 'int4z')]:
            self.dqgen('quantize', *arguments, TINY, '-o', 'c.dqg')
            info = json.loads(self.dqgen('info', 'c.dqg', '--json', '--tensors').stdout)
            formats = {tensor['name']: tensor['format'] for tensor in info['tensors']}
            self.assertEqual(formats['blocks.1.attn.qkv.weight'], expected)

    def test_quiet_and_verbose(self):
        self.assertEqual(self.dqgen('quantize', TINY, '-o', 'a.dqg', '-q').stdout, '')
        self.assertIn('blocks.1.attn.qkv.weight', self.dqgen('quantize', TINY, '-o', 'a.dqg', '-v').stdout)
        self.assertEqual(self.dqgen('verify', 'a.dqg', '--quiet').stdout, '')

    def test_same_bytes_again(self):
        self.dqgen('quantize', TINY, '-o', 'a.dqg', '--threads', 1)
        self.dqgen('quantize', TINY, '-o', 'b.dqg', '--threads', 2)
        self.assertEqual((self.folder / 'a.dqg').read_bytes(), (self.folder / 'b.dqg').read_bytes())


class Damage(Case):
    def test_flipped_and_cut(self):
        self.dqgen('quantize', TINY, '-o', 'a.dqg', '-q')
        good = (self.folder / 'a.dqg').read_bytes()
        bad = pathlib.Path(self.path('bad.dqg'))
        for at in [0, len(good) // 3, len(good) // 2, len(good) - 1]:
            bad.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1:])
            self.refused('verify', 'bad.dqg', code=1, says="'bad.dqg' is not good: ")
            self.refused('info', 'bad.dqg', code=1, says="cannot load 'bad.dqg': ")
        bad.write_bytes(good[:-7])
        self.refused('verify', 'bad.dqg', code=1)

    def test_the_tensor_is_named(self):
        self.dqgen('quantize', TINY, '-o', 'a.dqg', '-q')
        names = [t['name'] for t in json.loads(self.dqgen('info', 'a.dqg', '--json', '--tensors').stdout)['tensors']]
        good = (self.folder / 'a.dqg').read_bytes()
        at = len(good) * 2 // 3
        pathlib.Path(self.path('bad.dqg')).write_bytes(good[:at] + bytes([good[at] ^ 64]) + good[at + 1:])
        text = self.refused('verify', 'bad.dqg', code=1)
        self.assertTrue(any(name in text for name in names), text)

    def test_one_bad_file_among_good_ones(self):
        pathlib.Path(self.path('bad.dqg')).write_bytes(b'x' * 1000)
        done = self.dqgen('verify', 'bad.dqg', TINY, code=1)
        self.assertIn('tiny.safetensors: good', done.stdout)
        self.assertIn("'bad.dqg' is not good", done.stderr)


run()
