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
        for part in ['load', 'scalar', 'evaluation', 'step', 'GOP/s', 'memory']:
            self.assertIn(part, text)


run()
