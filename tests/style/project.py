# SPDX-License-Identifier: MIT
"""What the style checks share: where the project is, which files it has, and how a check ends."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED_FOLDERS = re.compile(r'^(\.git|\.cache|__pycache__|build.*|subprojects)$')


def files(*folders, suffixes):
    """Every file below the folders (relative to the project; '.' for all of it) with one of the suffixes, sorted."""
    found = []
    for folder in folders:
        stack = [ROOT / folder]
        while stack:
            for entry in stack.pop().iterdir():
                if entry.is_dir():
                    if not SKIPPED_FOLDERS.match(entry.name):
                        stack.append(entry)
                elif entry.suffix in suffixes or entry.name in suffixes:
                    found.append(entry)
    return sorted(found)


def name(path):
    return str(path.relative_to(ROOT))


def read(path):
    return path.read_text(encoding='utf-8')


class Check:
    """Collects complaints; finish() prints them and ends the program with the status that the test runner wants."""

    def __init__(self, what):
        self.what = what
        self.complaints = 0
        self.items = 0

    def seen(self, count=1):
        self.items += count

    def complain(self, where, why):
        self.complaints += 1
        print(f'{where}: {why}')

    def finish(self):
        print(f'{self.what}: {self.items} checked, {self.complaints} complaints')
        if self.items == 0:
            print(f'{self.what}: nothing was found to check')
        sys.exit(1 if self.complaints or self.items == 0 else 0)


def strip_comments(text):
    """C source with comments blanked out; line numbers stay."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.S)
    return pattern.sub(lambda m: m.group(0) if m.group(0)[0] == '"' else re.sub(r'[^\n]', ' ', m.group(0)), text)


def includes(path):
    """(line number, 'quoted' or 'system', text) for each #include."""
    found = []
    for number, line in enumerate(strip_comments(read(path)).split('\n'), 1):
        match = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
        if match:
            found.append((number, 'quoted' if match.group(1) == '"' else 'system', match.group(2)))
    return found


def public_header():
    return ROOT / 'include' / 'libdqgen.h'


def public_functions():
    """Names of the functions that the public header declares."""
    text = strip_comments(read(public_header()))
    return sorted(re.findall(r'\bDQG_API\b[^;{}()]*?\b(dqg_\w+)\s*\(', text))
