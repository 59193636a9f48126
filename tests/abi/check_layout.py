# SPDX-License-Identifier: MIT
"""layout.c names every record, every member and every constant of the public header: nothing is left unfrozen."""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'style'))
from project import Check, ROOT, public_header, read, strip_comments  # noqa: E402


def expected(header):
    lines = []
    for record, body in re.findall(r'typedef struct (dqg_\w+) \{(.*?)\n\} dqg_\w+;', header, re.S):
        lines.append(f'RECORD({record},')
        for member in filter(None, (part.strip() for part in body.split(';'))):
            found = re.search(r'\(\*(\w+)\)', member) or re.search(r'(\w+)(\[\w+\])?$', member)
            lines.append(f'MEMBER({record}, {found.group(1)},')
    for body in re.findall(r'enum\s*\{([^}]*)\}', header):
        lines += [f'CONSTANT({name},' for name in re.findall(r'(DQG_\w+)\s*=', body)]
    return lines


check = Check('layout')
asserts = read(ROOT / 'tests' / 'abi' / 'layout.c')
for line in expected(strip_comments(read(public_header()))):
    check.seen()
    if line not in asserts:
        check.complain('tests/abi/layout.c', f'lacks {line} ...)')
check.finish()
