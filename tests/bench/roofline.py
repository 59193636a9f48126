# SPDX-License-Identifier: MIT
"""
The roofline picture of docs/performance.md: roofline.py PEERS.json OUTPUT.svg. Each point is a shape: how many
operations it does for a byte that it must move, and how many in a second. Nothing can be above the slope (memory) or
the level (arithmetic). Reads what peers.py wrote.
"""
import json
import math
import pathlib
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 520, 70, 20, 40, 60
X_RANGE, Y_RANGE = (1, 1e4), (10, 1e4)  # operations a byte; thousand million operations a second

OURS = ('dqgen, 4-bit weights', '#d7263d')
COLOURS = {'oneDNN int8': '#1b7f5c', 'oneDNN f32': '#2f6fb3', 'OpenBLAS AVX-512': '#8a5fbf', 'BLIS AVX-512': '#9a9a9a'}


def x_of(value):
    return LEFT + (WIDTH - LEFT - RIGHT) * math.log(value / X_RANGE[0]) / math.log(X_RANGE[1] / X_RANGE[0])


def y_of(value):
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log(value / Y_RANGE[0]) / math.log(Y_RANGE[1] / Y_RANGE[0])


def text(x, y, words, **attributes):
    more = ''.join(f' {key.replace("_", "-")}="{value}"' for key, value in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{words}</text>'


def line(x1, y1, x2, y2, colour, width=1, dash=''):
    dashed = f' stroke-dasharray="{dash}"' if dash else ''
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"' \
           f'{dashed}/>'


def grid():
    parts = []
    for value in [10 ** i for i in range(5)]:
        if X_RANGE[0] <= value <= X_RANGE[1]:
            parts.append(line(x_of(value), TOP, x_of(value), HEIGHT - BOTTOM, '#e2e2e2'))
            parts.append(text(x_of(value), HEIGHT - BOTTOM + 18, f'{value}', text_anchor='middle'))
        if Y_RANGE[0] <= value <= Y_RANGE[1]:
            parts.append(line(LEFT, y_of(value), WIDTH - RIGHT, y_of(value), '#e2e2e2'))
            parts.append(text(LEFT - 8, y_of(value) + 4, f'{value}', text_anchor='end'))
    parts.append(text((LEFT + WIDTH) / 2, HEIGHT - 18, 'operations for each byte moved', text_anchor='middle'))
    parts.append(text(16, HEIGHT / 2, 'GOP/s', text_anchor='middle', transform=f'rotate(-90 16 {HEIGHT / 2})'))
    return parts


def roof(bandwidth, ceiling, words):
    """The slope up to the level, and the level."""
    knee = ceiling / bandwidth
    low = max(X_RANGE[0], Y_RANGE[0] / bandwidth)
    return [line(x_of(low), y_of(bandwidth * low), x_of(knee), y_of(ceiling), '#444', 1.5),
            line(x_of(knee), y_of(ceiling), WIDTH - RIGHT, y_of(ceiling), '#444', 1.5),
            text(WIDTH - RIGHT - 4, y_of(ceiling) - 6, f'{words}: {ceiling:.0f} GOP/s', text_anchor='end')]


def point(shape, seconds, byte_count, colour, title):
    x, y = shape['operations'] / byte_count, shape['operations'] / seconds * 1e-9
    x, y = (min(max(value, low), high) for value, (low, high) in [(x, X_RANGE), (y, Y_RANGE)])
    return f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="4" fill="{colour}" fill-opacity="0.75">' \
           f'<title>{title}</title></circle>'


def peer_bytes(shape, name):
    """Of a product with weights and inputs of one (int8) or four bytes each, and float results."""
    size = 1 if 'int8' in name else 4
    return size * (shape['n'] * shape['k'] + shape['m'] * shape['k']) + 4 * shape['m'] * shape['n']


def points(figures):
    parts = []
    for shape in figures.get('matmul', []):
        label = f'{shape["network"]} {shape["name"]} {shape["m"]} x {shape["n"]} x {shape["k"]}'
        for name, seconds in shape['peers'].items():
            if name in COLOURS:
                parts.append(point(shape, seconds, peer_bytes(shape, name), COLOURS[name], f'{name}: {label}'))
    for shape in figures.get('matmul', []) + figures.get('single', []):
        label = f'{shape["network"]} {shape["name"]} {shape["m"]} x {shape["n"]} x {shape["k"]}'
        parts.append(point(shape, shape['seconds_min'], shape['bytes'], OURS[1], f'dqgen: {label}'))
    return parts


def legend():
    parts = []
    for i, (name, colour) in enumerate([OURS, *COLOURS.items()]):
        y = HEIGHT - BOTTOM - 20 - 18 * (len(COLOURS) - i)
        parts.append(f'<circle cx="{WIDTH - 190}" cy="{y}" r="4" fill="{colour}"/>')
        parts.append(text(WIDTH - 180, y + 4, name))
    return parts


def main():
    figures = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding='utf-8'))
    bandwidth = figures['bandwidth'] * 1e-9
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="12" '
             f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
             text(LEFT, 24, f'Matrix products on {figures["machine"]}, {figures["threads"]} threads; memory '
                            f'{bandwidth:.0f} GB/s', font_size=14)]
    parts += grid()
    parts += roof(bandwidth, figures['ceiling'] * 1e-9, 'int8')
    parts += roof(bandwidth, figures['ceiling-f32'] * 1e-9, 'float')
    parts += points(figures) + legend() + ['</svg>', '']
    pathlib.Path(sys.argv[2]).write_text('\n'.join(parts), encoding='utf-8')


main()
