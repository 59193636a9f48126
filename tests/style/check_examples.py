# SPDX-License-Identifier: MIT
"""
The C examples in documents compile: check_examples.py COMPILER...

A block with functions is compiled as it stands; one of plain statements is put into a function with the usual handles.
"""
import re
import subprocess
import sys
import tempfile

from project import Check, ROOT, files, name, read

PRELUDE = '''#include <libdqgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
void my_network(const void *input, double timestep, void *output);
'''
OPEN = '''static void example(dqg_context *context, dqg_model *model, dqg_scheduler *scheduler, dqg_options *options,
                    dqg_run *run, unsigned char *pixels, dqg_tensor_view x0, dqg_tensor_view noise,
                    dqg_tensor_view noisy, dqg_tensor_view input, dqg_tensor_view output, dqg_tensor_view result,
                    int64_t count, int64_t size)
{
    (void)context, (void)model, (void)scheduler, (void)options, (void)run, (void)pixels, (void)count, (void)size;
    (void)x0, (void)noise, (void)noisy, (void)input, (void)output, (void)result;
'''


def program(block):
    has_functions = re.search(r'^(static|int main)\b', block, re.M)
    return PRELUDE + (block if has_functions else OPEN + '{\n' + block + '}\n}\n')


def main():
    compiler = sys.argv[1:] or ['cc']
    check = Check('examples in documents')
    for path in files('.', suffixes={'.md'}):
        text = read(path)
        for match in re.finditer(r'^```c\n(.*?)^```', text, re.S | re.M):
            check.seen()
            with tempfile.NamedTemporaryFile('w', suffix='.c') as source:
                source.write(program(match.group(1)))
                source.flush()
                result = subprocess.run(
                    compiler + ['-std=c11', '-Wall', '-Wextra', '-Werror', '-Wno-unused-function', '-fsyntax-only',
                                f'-I{ROOT / "include"}', source.name], stderr=subprocess.PIPE, universal_newlines=True)
            if result.returncode != 0:
                line = text[:match.start()].count('\n') + 1
                check.complain(f'{name(path)}:{line}', f'this example does not compile\n{result.stderr}')
    check.finish()


main()
