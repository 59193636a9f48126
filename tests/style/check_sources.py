# SPDX-License-Identifier: MIT
"""
The look of source files: licence line, opening comment, tabs, trailing blanks, line length, file size, and the share of
comments in the public header. Prints the file-size report. Rules and reasons: docs/style.md.
"""
import re
import statistics

from project import Check, files, name, public_header, read

MAX_COLUMNS = 120
ASK_LINES, MAX_LINES, MAX_MEDIAN = 600, 1000, 300
MIN_HEADER_COMMENTS = 0.45
SOURCES = {'.c', '.h', '.inc', '.cpp', '.py', '.sh', 'meson.build', 'run'}
NEEDS_OPENING = {'.c', '.h'}


def check_text(check, path, text):
    lines = text.split('\n')
    head = '\n'.join(lines[:3])
    if 'SPDX-License-Identifier: MIT' not in head:
        check.complain(name(path), 'the first lines lack "SPDX-License-Identifier: MIT"')
    if lines[-1] != '' or (len(lines) > 1 and lines[-2].strip() == ''):
        check.complain(name(path), 'ends without a newline, or with empty lines')
    for number, line in enumerate(lines, 1):
        where = f'{name(path)}:{number}'
        if '\t' in line:
            check.complain(where, 'tab')
        if line != line.rstrip():
            check.complain(where, 'trailing blank')
        if len(line) > MAX_COLUMNS:
            check.complain(where, f'{len(line)} columns, at most {MAX_COLUMNS}')
        if re.search(r'\b(TODO|FIXME|XXX|HACK)\b', line) and path.name != 'check_sources.py':
            check.complain(where, 'an open end in the code: finish it or file an issue')


def opening_comment(text):
    """The comment after the licence line, or ''."""
    match = re.match(r'/\* SPDX[^\n]*\*/\s*(/\*.*?\*/|(?://[^\n]*\n)+)', text, re.S)
    return match.group(1) if match else ''


def check_opening(check, path, text):
    if len(opening_comment(text)) < 40:
        check.complain(name(path), 'opens without a comment that says what the file is and who uses it')


def check_size(check, path, text):
    lines = text.count('\n')
    if lines > MAX_LINES and not re.search(r'\b(table|long because)', opening_comment(text)):
        check.complain(name(path), f'{lines} lines, and the opening comment gives no reason ("long because ...")')
    elif lines > ASK_LINES:
        print(f'WARNING {name(path)}: {lines} lines; does it hold more than one topic?')
    return lines


def report_sizes(check, sizes):
    print(f'{"folder":24} {"files":>5} {"lines":>7} {"median":>6} {"longest":>7}')
    folders = sorted({'/'.join(name(path).split('/')[:2]) for path in sizes})
    for folder in folders:
        lines = [sizes[path] for path in sizes if name(path).startswith(folder + '/')]
        if lines:
            print(f'{folder:24} {len(lines):5} {sum(lines):7} {statistics.median(lines):6.0f} {max(lines):7}')
    median = statistics.median(sizes.values())
    print(f'{"all .c files":24} {len(sizes):5} {sum(sizes.values()):7} {median:6.0f} {max(sizes.values()):7}')
    if median > MAX_MEDIAN:
        check.complain('file sizes', f'median of the .c files is {median:.0f} lines, at most {MAX_MEDIAN}')


def check_header_comments(check):
    lines = [line for line in read(public_header()).split('\n') if line.strip()]
    comments, inside = 0, False
    for line in lines:
        text = line.strip()
        starts = '/*' in text
        if inside or text.startswith('//') or starts:
            comments += 1
        if starts or inside:
            inside = '*/' not in text[text.rfind('/*') + 2 if starts else 0:]
    share = comments / len(lines)
    print(f'{name(public_header())}: {share:.0%} of its {len(lines)} lines carry comments')
    if share < MIN_HEADER_COMMENTS:
        check.complain(name(public_header()), f'{share:.0%} comment lines, at least {MIN_HEADER_COMMENTS:.0%} wanted')


def main():
    check = Check('sources')
    sizes = {}
    for path in files('.', suffixes=SOURCES):
        check.seen()
        text = read(path)
        check_text(check, path, text)
        if path.suffix in NEEDS_OPENING:
            check_opening(check, path, text)
        if path.suffix == '.c':
            sizes[path] = check_size(check, path, text)
    report_sizes(check, sizes)
    check_header_comments(check)
    check.finish()


main()
