# SPDX-License-Identifier: MIT
"""
Documents: links and the project's own paths in them lead somewhere, docs/index.md knows every page, and every function
and option key of the public header is explained in a guide.
"""
import re

from project import Check, ROOT, files, name, public_functions, public_header, read, strip_comments

PATH_LIKE = re.compile(r'`((?:lib|backends|include|examples|tests|docs)/[\w./-]+)`')


def slug(heading):
    """The anchor of a heading, as code hosts make it."""
    text = re.sub(r'`|\*', '', heading.strip().lower())
    return re.sub(r'\s', '-', re.sub(r'[^\w\s-]', '', text))


def without_code(text):
    return re.sub(r'^```.*?^```', '', text, flags=re.S | re.M)


def anchors(path):
    return {slug(h) for h in re.findall(r'^#+ (.*)$', without_code(read(path)), re.M)}


def check_links(check, path):
    text = without_code(read(path))
    for label, target in re.findall(r'\[([^\]]*)\]\(([^)\s]+)\)', text):
        check.seen()
        if re.match(r'[a-z]+:', target):
            continue
        file, _, anchor = target.partition('#')
        place = (path.parent / file).resolve() if file else path
        if not place.exists():
            check.complain(name(path), f'the link [{label}]({target}) leads nowhere')
        elif anchor and place.suffix == '.md' and anchor not in anchors(place):
            check.complain(name(path), f'the link [{label}]({target}): no such heading')
    for place in PATH_LIKE.findall(text):
        check.seen()
        if not (ROOT / place).exists():
            check.complain(name(path), f'names `{place}`, which does not exist')


def check_index(check):
    index = read(ROOT / 'docs' / 'index.md')
    for path in files('docs', suffixes={'.md'}):
        check.seen()
        if path.name != 'index.md' and f']({path.relative_to(ROOT / "docs")})' not in index:
            check.complain('docs/index.md', f'does not link to {name(path)}')


def check_coverage(check):
    guides = '\n'.join(read(path) for path in files('docs', suffixes={'.md'}))
    header = strip_comments(read(public_header()))
    keys = re.findall(r'\b(DQG_(?:MODEL|SCHEDULER|RUN|QUANTIZER)_[A-Z_]+)\s*=\s*\d{3}\b', header)
    records = re.findall(r'^}\s*(dqg_\w+);', header, re.M)
    for item in public_functions() + keys + records:
        check.seen()
        if not re.search(rf'\b{item}\b', guides):
            check.complain('docs', f'{item} is explained in no guide')


def main():
    check = Check('documents')
    for path in files('.', suffixes={'.md'}) + [ROOT / 'NEWS']:
        check_links(check, path)
    check_index(check)
    check_coverage(check)
    check.finish()


main()
