# SPDX-License-Identifier: MIT
"""
Who may include whom (docs/architecture.md, "Layers"): downward only, never between folders of one number; the operating
system in support/ and io/ alone; one file each for zstd, xxHash and BLIS; examples through the public header alone.
"""
import re

from project import Check, ROOT, files, includes, name

LAYERS = {'support': 0, 'kernel': 1, 'tensor': 2, 'ops': 3, 'io': 3, 'sched': 3, 'text': 3, 'model': 4, 'run': 5,
          'quant': 5, 'measure': 5, 'api': 6}
# Plain C, allowed everywhere in the library.
PLAIN = {'assert.h', 'float.h', 'inttypes.h', 'limits.h', 'math.h', 'stdalign.h', 'stdarg.h', 'stdatomic.h',
         'stdbool.h', 'stddef.h', 'stdint.h', 'string.h'}
SYSTEM_LAYERS = {'support', 'io'}
FORBIDDEN = {'stdio.h', 'signal.h', 'setjmp.h', 'locale.h', 'wchar.h', 'alloca.h', 'err.h', 'syslog.h'}
INTRINSICS = re.compile(r'^(\w*intrin\.h|arm_\w+\.h)$')
PROCESSOR = {'cpuid.h', 'sys/auxv.h', 'asm/hwcap.h'}
ONE_FILE = {'zstd.h': 'lib/io/', 'xxhash.h': 'lib/support/', 'blis.h': 'lib/support/'}


def check_library_file(check, path, users):
    layer = path.relative_to(ROOT / 'lib').parts[0]
    if layer not in LAYERS:
        check.complain(name(path), f'no layer is called {layer}')
        return
    for line, kind, text in includes(path):
        where = f'{name(path)}:{line}'
        base = text.split('/')[-1]
        if base in ONE_FILE:
            users[base].add(name(path))
        elif kind == 'quoted':
            check_own_include(check, where, layer, text)
        elif text in FORBIDDEN:
            check.complain(where, f'<{text}> has no place in the library')
        elif INTRINSICS.match(text) or text in PROCESSOR:
            if layer != 'kernel':
                check.complain(where, f'<{text}>: what the processor can do is asked in lib/kernel alone')
        elif text not in PLAIN and layer not in SYSTEM_LAYERS:
            check.complain(where, f'<{text}>: only lib/support and lib/io touch the operating system')


def check_own_include(check, where, layer, text):
    if text == 'libdqgen.h':
        return
    if '/' not in text:
        check.complain(where, f'"{text}": write the include with its folder')
        return
    target = text.split('/')[0]
    if not (ROOT / 'lib' / text).is_file() or target not in LAYERS:
        check.complain(where, f'"{text}" is not a file of the library')
    elif target != layer and LAYERS[target] >= LAYERS[layer]:
        check.complain(where, f'layer {layer} ({LAYERS[layer]}) must not include {target} ({LAYERS[target]})')


def check_backend_file(check, path):
    for line, kind, text in includes(path):
        where = f'{name(path)}:{line}'
        if kind == 'quoted':
            own = (path.parent / text).is_file() or (ROOT / 'backends' / text).is_file()
            if not own and not text.startswith('kernel/'):
                check.complain(where, f'"{text}": a backend sees lib/kernel and its own folder, nothing else')
        elif text not in PLAIN and not INTRINSICS.match(text):
            check.complain(where, f'<{text}>: a kernel is arithmetic, it needs no such header')


def check_example_file(check, path):
    for line, kind, text in includes(path):
        own = (path.parent / text).is_file() or (ROOT / 'examples' / text).is_file()
        if kind == 'quoted' and text != 'libdqgen.h' and not own:
            check.complain(f'{name(path)}:{line}', f'"{text}": examples use the public header only')


def main():
    check = Check('layers')
    users = {header: set() for header in ONE_FILE}
    names = {}
    for path in files('lib', 'backends', suffixes={'.c', '.h', '.inc'}):
        check.seen()
        if path.name in names:
            check.complain(name(path), f'has the same name as {names[path.name]}')
        names[path.name] = name(path)
        if path.is_relative_to(ROOT / 'lib'):
            check_library_file(check, path, users)
        else:
            check_backend_file(check, path)
    for path in files('examples', suffixes={'.c', '.h'}):
        check.seen()
        check_example_file(check, path)
    for header, folder in ONE_FILE.items():
        if len(users[header]) != 1 or not next(iter(users[header])).startswith(folder):
            check.complain(header, f'is to be included by exactly one file of {folder}, not by {sorted(users[header])}')
    check.finish()


main()
