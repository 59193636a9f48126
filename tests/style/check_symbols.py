# SPDX-License-Identifier: MIT
"""
Symbols of the release libraries: check_symbols.py LIBRARY.so LIBRARY.a

- the shared library exports the functions of the public header, all of them and nothing else;
- everything that the static library defines for others starts with dqg_;
- neither holds writable data;
- the shared library imports only what is listed here with its reason: no abort, exit, stdio, environment, signals.
"""
import re
import subprocess
import sys

from project import Check, public_functions

ALLOWED_IMPORTS = [
    ('allocation, the default allocator', r'malloc|calloc|realloc|free|aligned_alloc|posix_memalign'),
    ('strings', r'mem(cpy|move|set|cmp|chr)|__mem\w+_chk|str(len|nlen|cmp|ncmp|cpy|chr|rchr|str)'),
    ('arithmetic', r'(exp|expm1|log|log1p|log2|log10|pow|sqrt|sin|cos|sincos|tan|atan|tanh|fmod|floor|ceil|trunc|round|'
                   r'rint|nearbyint|lrint|llrint|lround|llround|ldexp|frexp|scalbn|fma|fmin|fmax|cbrt|erf|hypot|'
                   r'acos|tgamma|erfc)[fl]?'),
    ('files', r'(open|stat|fstat|lseek|pread|pwrite|ftruncate|mkstemp|readdir)(64)?|opendir|closedir|openat|close|read|'
              r'write|'
              r'fsync|fdatasync|unlink|rename|link|fchmod|umask|getpid|access|mmap|munmap|posix_fadvise'),
    ('errors of the operating system', r'__errno_location|strerror_r|__xpg_strerror_r|strerrordesc_np'),
    ('threads', r'pthread_(mutex|cond|condattr|attr|create|join|once|self|key|setname|sigmask)\w*|'
                r'sem_\w+|sched_\w+|__sched_\w+|sysconf'),
    ('time', r'clock_gettime|clock_nanosleep|nanosleep|time'),
    ('processor features', r'getauxval|__cpu_model|__cpu_indicator_init|__getauxval'),
    ('sorting', r'qsort|bsearch'),
    ('zstd', r'ZSTD_\w+'),
    ('xxHash', r'XXH\w+'),
    ('BLIS', r'bli_\w+|BLIS_\w+'),
    ('put there by the compiler', r'__stack_chk_fail|__cxa_finalize|__gmon_start__|_ITM_\w+'),
]
WRITABLE_SECTIONS = re.compile(r'^(\.data|\.bss|\.tdata|\.tbss|\*COM\*|\.data\.(?!rel\.ro)\S+|\.bss\.\S+)$')
COMPILER_MADE = re.compile(r'^(completed\.\d+|__dso_handle|__TMC_END__|_edata|_end|__bss_start|\.\w+)$')


def tool(*arguments):
    return subprocess.run(arguments, check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout.split('\n')


def symbols(path, *options):
    """(type, name) for each symbol that nm lists, versions cut off."""
    found = []
    for line in tool('nm', *options, path):
        match = re.match(r'^[0-9a-f ]*\s([A-Za-z])\s(\S+)$', line)
        if match:
            found.append((match.group(1), re.sub(r'@.*$', '', match.group(2))))
    return found


def check_exports(check, shared):
    exported = {n for kind, n in symbols(shared, '-D', '--defined-only') if kind != 'A'}
    declared = set(public_functions())
    check.seen(len(exported))
    for function in sorted(exported - declared):
        check.complain(shared, f'exports {function}, which the public header does not declare')
    for function in sorted(declared - exported):
        check.complain(shared, f'does not export {function}, which the public header declares')


def check_static(check, static):
    for _, symbol in symbols(static, '-g', '--defined-only'):
        check.seen()
        if not symbol.startswith('dqg_'):
            check.complain(static, f'defines {symbol}: every symbol that others can see starts with dqg_')


def check_imports(check, shared):
    allowed = [(reason, re.compile(f'^({pattern})$')) for reason, pattern in ALLOWED_IMPORTS]
    used = {}
    for _, symbol in symbols(shared, '-D', '--undefined-only'):
        check.seen()
        reason = next((r for r, pattern in allowed if pattern.match(symbol)), None)
        if reason is None:
            check.complain(shared, f'imports {symbol}, which tests/style/check_symbols.py does not allow')
        used.setdefault(reason, []).append(symbol)
    for reason, names in used.items():
        print(f'  {reason or "NOT ALLOWED"}: {" ".join(sorted(names))}')


def check_writable(check, path):
    for line in tool('objdump', '-t', path):
        match = re.match(r'^[0-9a-f]+ .{7} (\S+)\s+[0-9a-f]+\s+(?:\S+ +)?(\S+)$', line)
        if match and WRITABLE_SECTIONS.match(match.group(1)) and not COMPILER_MADE.match(match.group(2)):
            check.complain(path, f'{match.group(2)} is writable data ({match.group(1)}): the library keeps no state')


def main():
    shared, static = sys.argv[1], sys.argv[2]
    check = Check('symbols')
    check_exports(check, shared)
    check_static(check, static)
    check_imports(check, shared)
    check_writable(check, shared)
    check_writable(check, static)
    check.finish()


main()
