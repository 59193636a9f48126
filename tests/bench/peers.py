# SPDX-License-Identifier: MIT
"""
Our matrix products and convolutions beside those of other libraries: peers.py FOLDER [--threads N] [--shapes LIST]
[--conv-shapes LIST] [--m LIST] [--backend NAME] [--rounds N] [--milliseconds N]. Called by peers.sh, which puts the
programs into FOLDER. Ours and theirs take turns, so that both see the same machine; of each shape the best time of all
rounds counts. Writes FOLDER/peers.json. An empty list of shapes leaves that operation out.
"""
import argparse
import json
import math
import os
import pathlib
import subprocess
import sys

# Names, program, arguments, environment. OpenBLAS and BLIS do not know processors newer than themselves and then take
# a slower way, BLIS a very slow one (a sixth), which is not measured. Their own variables choose kernels:
# BLIS_ARCH_TYPE (0: AVX-512, 3: AVX2, as numbered in 0.9) and OPENBLAS_CORETYPE.
PEERS = [
    ('oneDNN int8', 'peer_onednn', ['int8'], {}),
    ('oneDNN f32', 'peer_onednn', ['f32'], {}),
    ('OpenBLAS f32', 'peer_openblas', ['OpenBLAS f32', '{threads}'], {}),
    ('OpenBLAS AVX-512', 'peer_openblas', ['OpenBLAS AVX-512', '{threads}'], {'OPENBLAS_CORETYPE': 'SkylakeX'}),
    ('BLIS AVX-512', 'peer_blis', ['BLIS AVX-512', '{threads}'], {'BLIS_ARCH_TYPE': '0'}),
    ('BLIS AVX2', 'peer_blis', ['BLIS AVX2', '{threads}'], {'BLIS_ARCH_TYPE': '3'}),
]


def shape_text(word, result):
    if word == 'matmul':
        return f'matmul {result["m"]} {result["n"]} {result["k"]}'
    keys = ['samples', 'height', 'width', 'k', 'n', 'kernel', 'stride']
    return 'conv ' + ' '.join(str(result[key]) for key in keys)


def run_ours(folder, arguments, word, shapes, *more):
    command = [str(folder / 'dqgen/examples/dqgen'), 'bench', word, '--json', '--threads', str(arguments.threads),
               '--backend', arguments.backend, '--milliseconds', str(arguments.milliseconds), '--shapes', shapes, *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def run_peer(folder, arguments, peer, shapes):
    name, program, words, extra = peer
    command = [str(folder / program)] + [word.format(threads=arguments.threads) for word in words]
    environment = dict(os.environ, OMP_NUM_THREADS=str(arguments.threads), **extra)
    done = subprocess.run(command, input='\n'.join(shapes) + '\n', stdout=subprocess.PIPE, text=True, env=environment,
                          check=False)
    if done.returncode != 0:
        print(f'{name}: failed with status {done.returncode}', file=sys.stderr)
        return {}
    return {line['shape']: line['seconds_min'] for line in map(json.loads, done.stdout.splitlines())}


def keep_best(best, name, times):
    for shape, seconds in times.items():
        best.setdefault(shape, {})
        best[shape][name] = min(seconds, best[shape].get(name, math.inf))


def geometric(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def measure(folder, arguments, word, shapes):
    """The best time of each shape by everybody, and our results as dqgen tells them."""
    best, results = {}, {}
    for _ in range(arguments.rounds):
        rows = ['--m', arguments.m] if word == 'matmul' else []
        ours = run_ours(folder, arguments, word, shapes, *rows)
        for result in ours['results']:
            if result.get('upsample') or result.get('depth', 1) > 1:
                continue  # no counterpart
            shape = shape_text(word, result)
            if shape not in results or result['seconds_min'] < results[shape]['seconds_min']:
                results[shape] = result
        for peer in PEERS:
            keep_best(best, peer[0], run_peer(folder, arguments, peer, list(results)))
    for shape, result in results.items():
        keep_best(best, 'dqgen', {shape: result['seconds_min']})
    return best, results


def print_table(best, results):
    names = ['dqgen'] + [peer[0] for peer in PEERS if any(peer[0] in times for times in best.values())]
    print(f'\n{"GOP/s":44} ' + ' '.join(f'{name:>17}' for name in names))
    ratios = {name: [] for name in names}
    for shape, result in results.items():
        rates = {name: result['operations'] / seconds * 1e-9 for name, seconds in best[shape].items()}
        label = f'{result["network"]} {result["name"]}'
        line = f'{label:18.18} {shape.split(" ", 1)[1]:25}'
        for name in names:
            if name in rates:
                ratios[name].append(rates['dqgen'] / rates[name])
                line += f' {rates[name]:17.1f}'
            else:
                line += ' ' * 18
        print(line)
    print(f'{"ours / theirs, geometric mean":44} ' + ' '.join(f'{geometric(ratios[name]):17.2f}' for name in names))
    print(f'{"least":44} ' + ' '.join(f'{min(ratios[name]):17.2f}' for name in names))
    ratios = [min(times[name] for name in times if name != 'dqgen' and 'int8' not in name) / times['dqgen']
              for times in best.values()]
    print(f'beside the best of those in floats: {geometric(ratios):.2f}, least {min(ratios):.2f}')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('folder', type=pathlib.Path)
    parser.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument('--shapes', default='dit-xl,sd15,flux')
    parser.add_argument('--conv-shapes', default='sd15,vae')
    parser.add_argument('--m', default='256,1024,4096')
    parser.add_argument('--backend', default='auto')
    parser.add_argument('--rounds', type=int, default=2)
    parser.add_argument('--milliseconds', type=int, default=150)
    arguments = parser.parse_args()
    written = {}
    for word, shapes in [('matmul', arguments.shapes), ('conv', arguments.conv_shapes)]:
        if not shapes:
            continue
        best, results = measure(arguments.folder, arguments, word, shapes)
        print_table(best, results)
        written[word] = [dict(result, peers={name: seconds for name, seconds in best[shape].items() if name != 'dqgen'})
                         for shape, result in results.items()]
    # What the others have no counterpart for: single rows; and the roofs over everything.
    single = run_ours(arguments.folder, arguments, 'matmul', 'modulation')
    written.update((key, single[key]) for key in ['machine', 'threads', 'version', 'bandwidth'])
    written['single'] = single['results']
    for word in ['ceiling', 'ceiling-f32']:
        written[word] = max(r['rate'] for r in run_ours(arguments.folder, arguments, word, 'all')['results'])
    path = arguments.folder / 'peers.json'
    path.write_text(json.dumps(written, indent=1) + '\n', encoding='utf-8')
    print(f'\n{written["machine"]}, {written["threads"]} threads, dqgen {written["version"]}; written: {path}')


main()
