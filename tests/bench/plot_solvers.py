#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Pictures and tables of docs/schedulers.md from what solver_error measured:

    build/tests/bench/solver_error > solvers.tsv
    python3 tests/bench/plot_solvers.py solvers.tsv docs/images

Prints the tables; needs matplotlib for the pictures.
"""
import csv
import sys

import matplotlib
matplotlib.use('svg')
import matplotlib.pyplot as plt

ERRORS = (0.3, 0.1, 0.03, 0.01)
BUDGETS = (4, 8, 20, 50)
COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000')  # Okabe and Ito
MARKERS = 'osD^vPX'
SHOWN = {'deterministic': ['euler', 'heun', 'dpm++-2s', 'dpm++-2m', 'unipc', 'deis', 'ipndm'],
         'stochastic': ['euler-ancestral', 'dpm++-2s-ancestral', 'dpm++-sde', 'dpm++-2m-sde', 'dpm++-3m-sde', 'er-sde']}
PLOTTED = {'vp': 'karras', 'flow': 'linspace'}


def spacing_name(row):
    return row['spacing'] + (f', shift {row["shift"]}' if row['shift'] != '1' else '')


def curve(rows, path, spacing, solver):
    points = [(int(r['evaluations']), float(r['error'])) for r in rows
              if (r['path'], spacing_name(r), r['solver']) == (path, spacing, solver)]
    return sorted(p for p in points if p[0] >= 4)


def plot(rows, path, kind, folder):
    figure, axes = plt.subplots(figsize=(6.4, 4))
    for i, solver in enumerate(SHOWN[kind]):
        points = curve(rows, path, PLOTTED[path], solver)
        if points:
            axes.loglog(*zip(*points), label=solver, color=COLOURS[i], marker=MARKERS[i], markersize=4, linewidth=1.2)
    axes.set_xlabel('evaluations of the network')
    axes.set_ylabel('median distance to the exact end' if kind == 'deterministic' else 'sliced Wasserstein distance')
    axes.set_title(f'{path}, spacing {PLOTTED[path]}', fontsize=10)
    axes.set_xticks([4, 8, 20, 50, 100], ['4', '8', '20', '50', '100'])
    axes.minorticks_off()
    axes.grid(color='#dddddd', linewidth=0.5)
    axes.legend(fontsize=8)
    figure.savefig(f'{folder}/solvers-{path}-{kind}.svg', bbox_inches='tight', metadata={'Date': None})
    plt.close(figure)


def names(rows, key):
    return list(dict.fromkeys(key(r) for r in rows))


def table_of_errors(rows, path):
    """Fewest evaluations, over the spacings, from which on the error stays below."""
    print(f'\n| {path}: solver | ' + ' | '.join(map(str, ERRORS)) + ' |\n|' + ' --- |' * (len(ERRORS) + 1))
    own = [r for r in rows if r['path'] == path and r['kind'] == 'deterministic']
    for solver in names(own, lambda r: r['solver']):
        cells = []
        for error in ERRORS:
            best = None
            for spacing in names(own, spacing_name):
                points = curve(own, path, spacing, solver)
                reached = [n for i, (n, _) in enumerate(points) if all(e <= error for _, e in points[i:])]
                if reached and (best is None or reached[0] < best[0]):
                    best = (reached[0], spacing)
            cells.append(f'{best[0]} {best[1]}' if best else '-')
        print(f'| `{solver}` | ' + ' | '.join(cells) + ' |')


def table_of_budgets(rows, path, kind):
    print(f'\n| {path}, {kind}: evaluations | best three | error |\n| --- | --- | --- |')
    own = [r for r in rows if r['path'] == path and r['kind'] == kind]
    for budget in BUDGETS:
        found = {}
        for r in own:
            if budget - 1 <= int(r['evaluations']) <= budget:
                this = (float(r['error']), f'`{r["solver"]}` {spacing_name(r)}')
                found[r['solver']] = min(found.get(r['solver'], this), this)
        best = sorted(found.values())[:3]
        print(f'| {budget} | ' + '; '.join(b[1] for b in best) + ' | ' + ', '.join(f'{b[0]:.3g}' for b in best) + ' |')


def main():
    source, folder = sys.argv[1:]
    plt.rcParams.update({'svg.hashsalt': 'dqgen', 'svg.fonttype': 'none'})
    with open(source, encoding='utf-8') as file:
        rows = list(csv.DictReader(file, delimiter='\t'))
    for path in PLOTTED:
        table_of_errors(rows, path)
        for kind in SHOWN:
            plot(rows, path, kind, folder)
            table_of_budgets(rows, path, kind)


if __name__ == '__main__':
    main()
