# SPDX-License-Identifier: MIT
"""Every public function is called with wrong arguments by one of tests/unit/test_hostile_*.c."""
import re

from project import Check, ROOT, public_functions, read

check = Check('coverage')
tests = ''.join(read(path) for path in sorted((ROOT / 'tests' / 'unit').glob('test_hostile_*.c')))
for function in public_functions():
    check.seen()
    if not re.search(rf'\b{function}\s*\(', tests):
        check.complain('tests/unit/test_hostile_*.c', f'{function}() is never called with wrong arguments')
check.finish()
