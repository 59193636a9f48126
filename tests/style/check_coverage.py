# SPDX-License-Identifier: MIT
"""Every public function is called with wrong arguments by tests/unit/test_hostile_api.c or test_hostile_run.c."""
import re

from project import Check, ROOT, public_functions, read

check = Check('coverage')
tests = ''.join(read(ROOT / 'tests' / 'unit' / name) for name in ('test_hostile_api.c', 'test_hostile_run.c'))
for function in public_functions():
    check.seen()
    if not re.search(rf'\b{function}\s*\(', tests):
        check.complain('tests/unit/test_hostile_*.c', f'{function}() is never called with wrong arguments')
check.finish()
