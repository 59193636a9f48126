# SPDX-License-Identifier: MIT
"""schedulers: lists, explanations and points; and generate with every solver and every schedule or spacing."""
import json
import math

from harness import Case, ROOT, SIGMA, TINY, run

SPRITES = str(ROOT / 'examples/models/sprites.dqg')
KINDS = ['solver', 'spacing', 'schedule', 'prediction']


class Lists(Case):
    def pieces(self):
        return json.loads(self.dqgen('schedulers', '--json').stdout)

    def test_everything_is_listed_and_explained(self):
        pieces, text = self.pieces(), self.dqgen('schedulers').stdout
        self.assertEqual(list(pieces), KINDS)
        for kind, rows in pieces.items():
            for row in rows:
                self.assertIn(f'  {row["name"]} ', text)
                one = self.dqgen('schedulers', row['name']).stdout
                self.assertIn(f'--{kind} {row["name"]}\n', one)
                self.assertIn(row['doc'], ' '.join(one.split()))
                self.assertTrue(row['fits'])
                found = json.loads(self.dqgen('schedulers', row['name'], '--json').stdout)
                self.assertIn(row, found[kind])
                self.assertLessEqual(max(map(len, (text + one).splitlines())), 100)

    def test_names_are_those_of_the_options(self):
        text = self.dqgen('generate', '--help').stdout
        for kind in ['solver', 'spacing', 'prediction']:
            line = next(line for line in text.splitlines() if line.startswith(f'  --{kind} '))
            names = '|'.join(row['name'] for row in self.pieces()[kind])
            self.assertIn(f': {names}', line)

    def test_points(self):
        points = json.loads(self.dqgen('schedulers', '--points', '--json', '--scheduler', 'dpm++-2m-karras',
                                       '--schedule', 'scaled-linear', '--steps', 4).stdout)['points']
        self.assertEqual(len(points), 5)
        self.assertTrue(math.isclose(points[0]['sigma'], 14.6146412293, rel_tol=1e-6))
        self.assertEqual((points[0]['timestep'], points[4]['sigma'], points[4]['alpha']), (999, 0, 1))
        text = self.dqgen('schedulers', '--points', '--solver', 'ddim', '--steps', 3).stdout
        self.assertEqual(len(text.splitlines()), 5)
        self.assertIn('0.333333333', text)

    def test_wrong_usage(self):
        self.refused('schedulers', 'unipcc', says="did you mean 'unipc'?")
        self.refused('schedulers', 'xyzzy', says='lists them')
        self.refused('schedulers', '--steps', 5, says='--points')
        self.refused('schedulers', 'euler', '--points', says='--solver euler')
        self.refused('schedulers', '--points', '--schedule', 'leading', says='what fits there: linspace')


class Generate(Case):
    def picture(self, *arguments, model=TINY):
        self.dqgen('generate', model, '--raw', 'x.npy', '--quiet', '--steps', 3, *arguments)
        return (self.folder / 'x.npy').read_bytes()

    def test_well_known_names(self):
        euler = self.picture()
        for name in ['euler', 'Euler', 'flow-euler']:
            self.assertEqual(self.picture('--scheduler', name), euler)
        karras = self.picture('--solver', 'dpm++-2m', '--spacing', 'karras')
        for name in ['dpm++-2m-karras', 'DPM++ 2M Karras', 'dpmpp_2m_karras', 'dpm++2m-karras']:
            self.assertEqual(self.picture('--scheduler', name), karras)
        self.assertEqual(self.picture('--scheduler', 'dpmpp_2m', '--schedule', 'karras'), karras)
        uniform = self.picture('--solver', 'euler-ancestral', '--spacing', 'sgm-uniform')
        self.assertEqual(self.picture('--scheduler', 'euler_a', '--schedule', 'sgm_uniform'), uniform)

    def test_single_options_go_first(self):
        self.assertEqual(self.picture('--scheduler', 'heun-karras', '--solver', 'euler', '--spacing', 'simple'),
                         self.picture('--solver', 'euler', '--spacing', 'simple'))
        self.refused('generate', TINY, '--raw', 'x.npy', '--schedule', 'karras', '--spacing', 'beta', says='give one')

    def test_unknown_names(self):
        self.refused('generate', TINY, '--raw', 'x.npy', '--scheduler', 'eulr', says="did you mean 'euler'?")
        self.refused('generate', TINY, '--raw', 'x.npy', '--schedule', 'karas', says="did you mean 'karras'?")
        self.refused('generate', TINY, '--raw', 'x.npy', '--schedule', 'xyzzy', says='dqgen schedulers')
        self.refused('generate', TINY, '--raw', 'x.npy', '--scheduler', 'x' * 100, says='dqgen schedulers')

    def works_or_says_what_fits(self, model, solver, schedule):
        arguments = ['generate', model, '--raw', 'x.npy', '--quiet', '--steps', 2, '--scheduler', solver, '--schedule',
                     schedule['name']]
        if self.path_of(model) in schedule['fits']:
            self.dqgen(*arguments)
        else:
            self.refused(*arguments, says='what fits there: ')

    @staticmethod
    def path_of(model):
        return 'vp' if model == SIGMA else 'flow'

    def test_every_pair(self):
        """A few steps of a tiny network of each path, and some of each with the sprites."""
        pieces = json.loads(self.dqgen('schedulers', '--json').stdout)
        schedules = pieces['schedule'] + pieces['spacing']
        for solver in pieces['solver']:
            for schedule in schedules:
                for model in [TINY, SIGMA]:
                    self.works_or_says_what_fits(model, solver['name'], schedule)
            self.works_or_says_what_fits(SPRITES, solver['name'], pieces['schedule'][0])
        for schedule in schedules:
            self.works_or_says_what_fits(SPRITES, 'euler', schedule)


if __name__ == '__main__':
    run()
