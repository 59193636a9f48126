# SPDX-License-Identifier: MIT
"""compare and bench: the figures are there, are plausible, and come as text and as JSON."""
import json

from harness import Case, TINY, run


class Compare(Case):
    def setUp(self):
        super().setUp()
        self.dqgen('quantize', TINY, '-o', 'q4.dqg', '-q')
        self.dqgen('quantize', TINY, '-o', 'q8.dqg', '-q', '--bits', 8, '--default-rules', 0)

    def compare(self, model, *arguments):
        done = self.dqgen('compare', TINY, model, '--steps', 4, '--seeds', 3, '--json', *arguments)
        self.assertEqual(done.stderr, '')
        return json.loads(done.stdout)

    def test_itself(self):
        same = self.compare(TINY)
        self.assertEqual([e['relative_error'] for e in same['evaluations']], [0, 0, 0])
        self.assertEqual({step['relative_error'] for step in same['trajectory']}, {0})
        self.assertIsNone(same['psnr_mean_db'])  # infinite
        self.assertEqual(same['unmatched_operators'], 0)

    def test_bits_matter(self):
        four, eight = self.compare('q4.dqg'), self.compare('q8.dqg')
        for a, b in zip(four['evaluations'], eight['evaluations']):
            self.assertEqual(a['t'], b['t'])
            self.assertTrue(0 < b['relative_error'] < a['relative_error'] < 0.5, (a['relative_error'],
                                                                               b['relative_error']))
        self.assertEqual([e['t'] for e in four['evaluations']], [0.9, 0.5, 0.1])
        self.assertLess(four['psnr_mean_db'], eight['psnr_mean_db'])
        self.assertLessEqual(four['psnr_lowest_db'], four['psnr_mean_db'])
        self.assertEqual([step['step'] for step in four['trajectory']], [1, 2, 3, 4])
        self.assertEqual(four['trajectory'][-1]['sigma'], 0)
        self.assertEqual([p['seed'] for p in four['pictures']], [0, 1, 2])
        self.assertEqual(len({p['class'] for p in four['pictures']}), 3)

    def test_operators(self):
        operators = self.compare('q4.dqg')['evaluations'][1]['operators']
        measured = [o for o in operators if o['relative_error'] is not None]
        self.assertGreater(len(measured), 8)
        self.assertTrue(any('blocks.1' in o['name'] for o in measured), operators)
        for operator in self.compare('q8.dqg')['evaluations'][1]['operators']:
            if operator['relative_error'] is not None:  # compared with its own partner, not with a neighbour
                self.assertLess(operator['relative_error'], 0.05, operator)

    def test_text(self):
        text = self.dqgen('compare', TINY, 'q4.dqg', '--steps', 4, '--seeds', 2, '--class', 'class1').stdout
        for part in ['t = 0.9', 'network output', 'step   4', 'finished pictures, PSNR: mean', 'class1']:
            self.assertIn(part, text)

    def test_other_network(self):
        self.refused('compare', TINY, TINY.replace('tiny', 'odd'), code=1, says='not the same network')


class Bench(Case):
    def test_json(self):
        bench = json.loads(self.dqgen('bench', TINY, '--steps', 3, '--repeats', 2, '--count', 2, '--backend', 'all',
                                      '--json').stdout)
        names = [b['name'] for b in bench['backends']]
        self.assertIn('scalar', names)
        self.assertEqual(len(names), len(set(names)))
        for backend in bench['backends']:
            for key in ['evaluation_ms', 'step_ms']:
                time = backend[key]
                self.assertTrue(0 < time['min'] <= time['median'] <= time['max'], time)
            self.assertGreater(backend['pictures_per_second'], 0)
        self.assertGreater(bench['model_bytes'], 100000)
        self.assertGreater(bench['run_bytes'], 2 * 4 * 8 * 8 * 4)

    def test_text(self):
        text = self.dqgen('bench', TINY, '--steps', 2, '--repeats', 1, '--backend', 'scalar').stdout
        for part in ['load', 'scalar', 'evaluation', 'step', 'GOP/s', 'memory', 'of the ceiling']:
            self.assertIn(part, text)

    def test_parts(self):
        quick = ['--steps', 2, '--repeats', 1]
        load = self.dqgen('bench', 'load', TINY, *quick, '--cold').stdout
        self.assertIn('MB/s of the file', load)
        self.assertNotIn('evaluation', load)
        step = json.loads(self.dqgen('bench', 'step', TINY, *quick, '--json').stdout)['backends'][0]
        self.assertIn('step_ms', step)
        self.assertNotIn('evaluation_ms', step)

    def test_profile(self):
        arguments = ['--steps', 2, '--repeats', 3, '--profile']
        self.dqgen('quantize', TINY, '-o', 'q4.dqg', '-q')
        bench = json.loads(self.dqgen('bench', 'q4.dqg', *arguments, '--json').stdout)
        backend = bench['backends'][0]
        self.assertAlmostEqual(backend['share'], backend['gops'] / backend['ceiling_gops'], delta=1e-6)
        profile = backend['profile']
        operators, kinds, layers = profile['operators'], profile['kinds'], profile['layers']
        self.assertEqual(sum(o['operations'] for o in operators), bench['evaluation_operations'])
        self.assertIn('blocks.1.attn.qkv', [o['name'] for o in operators])
        self.assertIn('blocks.*.attn.qkv (linear int4)', [line['name'] for line in layers])
        for name in ['linear int4', 'linear f16', 'attention', 'norm', 'quantize']:
            self.assertIn(name, [line['name'] for line in kinds])
        for lines in [kinds, layers]:
            self.assertEqual(sum(line['calls'] for line in lines), len(operators))
            self.assertAlmostEqual(sum(line['share'] for line in lines), 1, delta=1e-5)
            self.assertEqual(lines, sorted(lines, key=lambda line: -line['seconds']))
        text = self.dqgen('bench', 'q4.dqg', *arguments, '--top', 1).stdout
        self.assertIn('linear int4', text)
        listed = text.splitlines()
        listed = listed[[line.split()[:1] for line in listed].index(['layer']) + 1:]
        self.assertEqual(len(listed), 1, text)

    def test_random_weights(self):
        bench = json.loads(self.dqgen('bench', 'dit-s2', '--repeats', 1, '--steps', 1, '--format', 'int8',
                                      '--height', 8, '--width', 8, '--json').stdout)
        self.assertGreater(bench['evaluation_operations'], 2 * 16 * 12 * 12 * 384 * 384)
        self.assertGreater(bench['model_bytes'], 32e6)
        self.refused('bench', 'dit-s2', '--format', 'int7', says="not know 'int7'")
        self.refused('bench', 'dit-s2', '--group', 33, says='no format')
        self.refused('bench', 'dit-xxl', code=1, says="'dit-xxl'")


class BenchOperators(Case):
    QUICK = ['--milliseconds', 1]

    def bench(self, word, *arguments):
        done = self.dqgen('bench', word, *self.QUICK, '--json', *arguments)
        self.assertEqual(done.stderr, '')
        return json.loads(done.stdout)

    def check_result(self, result):
        self.assertTrue(0 < result['seconds_min'] <= result['seconds_median'] <= result['seconds_max'], result)
        self.assertGreater(result['processor_seconds'], 0)
        rate = result['operations'] / result['seconds_min']
        self.assertAlmostEqual(result['rate'], rate, delta=1e-6 * rate)

    def test_matmul(self):
        bench = self.bench('matmul', '--m', '2,32', '--n', 48, '--k', '64,128', '--format', 'int4,int8,f32')
        sizes = [(r['format'], r['m'], r['n'], r['k']) for r in bench['results']]
        self.assertEqual(sizes, [(f, m, 48, k) for f in ['int4', 'int8', 'f32'] for k in [64, 128] for m in [2, 32]])
        for result in bench['results']:
            self.check_result(result)
            self.assertEqual(result['operations'], 2 * result['m'] * result['n'] * result['k'])
            self.assertGreater(result['ceiling'], 0)
            self.assertLess(result['error'], 1e-5 if result['format'] == 'f32' else 0.02)
            self.assertEqual(result['share_of'], 'bandwidth' if result['m'] == 2 else 'ceiling')
            of = bench['bandwidth'] if result['m'] == 2 else result['ceiling']
            figure = result['bytes'] / result['seconds_min'] if result['m'] == 2 else result['rate']
            self.assertAlmostEqual(result['share'], figure / of, delta=1e-6)
        self.assertEqual(len(bench['means']), 6)
        self.assertGreater(bench['threads'], 0)
        self.assertTrue(bench['machine'])
        self.assertRegex(bench['version'], r'^\d+\.\d+\.\d+$')

    def test_groups_and_time(self):
        bench = self.bench('matmul', '--m', 32, '--n', 16, '--k', 256, '--group', 128, '--processor-time', '--cold')
        result = bench['results'][0]
        self.assertEqual((result['group'], bench['rates_by']), (128, 'processor'))
        seconds = result['processor_seconds'] / bench['threads']
        self.assertAlmostEqual(result['rate'], result['operations'] / seconds, delta=1e-6 * result['rate'])

    def test_shapes(self):
        bench = self.bench('norm', '--shapes', 'dit-xl,sd15', '--threads', 1)
        self.assertEqual([(r['network'], r['m'], r['k']) for r in bench['results']],
                         [('dit-xl', 256, 1152), ('sd15', 4096, 320)])
        self.assertEqual(bench['threads'], 1)
        for result in bench['results']:
            self.check_result(result)
            self.assertIsNone(result['error'])

    def test_convolutions(self):
        sizes = ['--height', 6, '--inputs', '16,40', '--outputs', 24]
        keys = ['depth', 'height', 'width', 'kernel', 'stride', 'upsample', 'k', 'n']
        for arguments, expected, taps in [([], [1, 6, 6, 3, 1, 0], 9),
                                          (['--width', 4, '--stride', 2], [1, 6, 4, 3, 2, 0], 9),
                                          (['--upsample', '--kernel', 5], [1, 6, 6, 5, 1, 1], 25),
                                          (['--depth', 2, '--kernel', 1], [2, 6, 6, 1, 1, 0], 1)]:
            results = self.bench('conv', *sizes, *arguments, '--format', 'int4,f16')['results']
            self.assertEqual([[r[key] for key in keys] for r in results],
                             2 * [expected + [16, 24], expected + [40, 24]])
            for result in results:
                self.check_result(result)
                pixels = result['depth'] * result['height'] * result['width']
                self.assertEqual(result['operations'], 2 * pixels * taps * result['k'] * 24)
                self.assertLess(result['error'], 0.03 if result['format'] == 'int4' else 1e-5)
        self.refused('bench', 'conv', *sizes, '--kernel', 2, says='odd number')
        self.refused('bench', 'conv', *sizes, '--stride', 0, says='--stride must be')

    def test_attention(self):
        for kind, keys in [('int8', []), ('int8', ['--keys', 77]), ('float', ['--keys', 5])]:
            result, = self.bench('attention', '--m', 70, '--k', 24, '--heads', 2, '--attention', kind, *keys)['results']
            self.assertEqual(result['keys'], keys[1] if keys else 70)
            self.assertEqual(result['operations'], 4 * 70 * result['keys'] * 24 * 2)
            if kind == 'int8':
                self.assertTrue(0 < result['error'] < 1e-2, result)
            else:
                self.assertIsNone(result['error'])
        self.refused('bench', 'attention', '--attention', 'int4', says="not 'int4'")

    def test_bfloat16(self):
        sizes = ['--m', 40, '--n', 32, '--k', 96, '--format', 'f32']
        f32, bf16 = (self.bench('matmul', *sizes, '--compute', c)['results'][0]['error'] for c in ['f32', 'bf16'])
        self.assertLess(f32, 1e-5)
        self.assertTrue(1e-4 < bf16 < 1e-2, bf16)
        self.refused('bench', 'matmul', *sizes, '--compute', 'f16', says="not 'f16'")

    def test_all_formats(self):
        sizes = ['--n', 40, '--k', 72, '--format', 'all', '--group', 32]
        decoded, products = ({r['format'] for r in self.bench(*arguments, *sizes)['results']}
                             for arguments in [['decode'], ['matmul', '--m', 32]])
        self.assertEqual(products - decoded, {'int8', 'f16', 'bf16', 'f32'})
        sizes = ['--m', 32, '--n', 16, '--k', 64, '--format', 'int4,nf4']
        text = self.dqgen('bench', 'matmul', *self.QUICK, *sizes).stdout
        self.assertRegex(text, r'rate beside that of int4.*\n\S+ +nf4 +[0-9.]+ +[0-9.]+\n')

    def test_other_operations(self):
        for arguments in [['attention', '--m', 33, '--k', 24, '--heads', 2], ['quantize', '--m', 5, '--k', 100],
                          ['decode', '--n', 40, '--k', 72, '--format', 'int4,int4z'], ['bandwidth'], ['ceiling-f32'],
                          ['ceiling-bf16'], ['rms-norm', '--m', 5, '--k', 100], ['group-norm', '--m', 9, '--k', 64]]:
            for result in self.bench(*arguments)['results']:
                self.check_result(result)

    def test_every_backend(self):
        bench = self.bench('ceiling', '--backend', 'all')
        names = [r['backend'] for r in bench['results']]
        self.assertEqual((len(names), names[-1]), (len(set(names)), 'scalar'))
        for result in bench['results']:
            self.check_result(result)

    def test_text(self):
        text = self.dqgen('bench', 'matmul', *self.QUICK, '--m', '1,40', '--n', 16, '--k', 64).stdout
        for part in ['matmul: ', 'int4, groups of 64', 'ceiling', 'GOP/s', 'reading memory at most']:
            self.assertIn(part, text)
        self.assertIn('usage: dqgen bench matmul', self.dqgen('bench', 'matmul', '--help').stdout)

    def test_refused(self):
        sizes = ['--m', 4, '--n', 16, '--k', 64]
        for arguments, text in [
                (['--m', '0'], '--m takes whole numbers'), (['--m', '-5'], '--m takes'), (['--n', '1,x'], '--n takes'),
                (['--k', '99999999999999999999'], '--k takes'), (['--k', '4.5'], '--k takes'),
                (['--m', ','.join('1' * 17)], '16 numbers at most'), (['--format', 'int7'], "not know 'int7'"),
                (['--format', 'int4,,int8'], "not know ''"), (['--shapes', 'dit-x'], "not know 'dit-x'"),
                (['--backend', 'gpu'], 'gpu'), (['--milliseconds', '0'], '--milliseconds must be'),
                (['--group', '33', *sizes], 'no format of weights'), (['--n', '16', '--k', '200000'], '131072'),
                (['--n', '16'], 'inputs: 0'), (['file.dqg'], 'one argument too many')]:
            self.refused('bench', 'matmul', *self.QUICK, *arguments, says=text)
        self.refused('bench', 'matmul', '--m', 1048576, '--n', 1048576, '--k', 131072, code=1, says='GB of memory')
        self.refused('bench', 'decode', '--n', 16, '--k', 16, '--format', 'f32', code=1, says='as they are stored')
        self.refused('bench', 'attention', '--m', 16, '--k', 16, says='heads: 0')


run()
