#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Make the commits of the series out of the assembled tree.

	series.py check		does everything belong to a commit?
	series.py commit REPO	make a git repository of them, one commit each

series/NN-NAME describes a commit: its message, a line "---", and what is in it:

	patch NAME	a patch of patches/
	patches PATTERN	patches that are named nowhere: a commit for each
	file PATTERN	added files; the longest pattern that matches has a file
	option PATTERN	entries of added Kconfig files
	maintainers	our entries of MAINTAINERS

A commit for a patch has the message of the patch. Every patch, added file and
entry belongs to exactly one commit.

Makefiles and Kconfig files grow with the series: what names a file of a later
commit is left out until then, whoever brings the Makefile or Kconfig.
"""
import copy
import fnmatch
import os
import re
import shutil
import subprocess
import sys

TOP = os.environ['TOP']
TREE = os.environ['TREE']
BUILD = os.environ['BUILD']


class Wrong(Exception):
    """Something that one line says; it is for whoever edits series/."""


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


def patch_message(name):
    """What stands above the first file of a patch, without a diffstat."""
    text = read(f'{TOP}/patches/{name}')
    return re.split(r'^---', text, maxsplit=1, flags=re.M)[0].strip() + '\n'


class Commit:
    def __init__(self, path):
        self.name = os.path.basename(path)
        self.patches, self.patterns, self.options, self.files = [], [], [], []
        self.each = []
        self.maintainers = False
        message, sep, contents = ('\n' + read(path)).partition('\n---\n')
        if not sep:
            raise Wrong(f'series/{self.name}: no line "---"')
        for line in contents.split('\n'):
            kind, _, arg = line.strip().partition(' ')
            arg = arg.strip()
            if kind == 'patch':
                self.patches.append(arg)
            elif kind == 'patches':
                self.each.append(arg)
            elif kind == 'file':
                self.patterns.append(arg)
            elif kind == 'option':
                self.options.append(arg)
            elif kind == 'maintainers':
                self.maintainers = True
            elif kind and not kind.startswith('#'):
                raise Wrong(f'series/{self.name}: neither patch, file nor option: {line}')
        if not message.strip() and not self.each:
            raise Wrong(f'series/{self.name}: no message')
        self.message = message.strip() + '\n'

    def of_patch(self, patch):
        """A commit like this one, for one patch."""
        commit = copy.copy(self)
        commit.each, commit.patches = [], [patch]
        commit.message = patch_message(patch)
        return commit


def owner_of(what, name, commits, patterns):
    """The one commit whose longest pattern matches."""
    found = {}
    for commit in commits:
        for pattern in patterns(commit):
            if fnmatch.fnmatchcase(name, pattern):
                found.setdefault(len(pattern), set()).add(commit.name)
    if not found:
        raise Wrong(f'{name}: no commit in series/ has this {what}')
    best = found[max(found)]
    if len(best) > 1:
        raise Wrong(f'{name}: {" and ".join(sorted(best))} in series/ have this {what}')
    return next(c for c in commits if c.name in best)


def entries(text):
    """A Kconfig file as blocks; what is no option has the name ''."""
    block, name = [], ''
    for line in text.splitlines(keepends=True):
        if re.match(r'(menu)?config |(end)?menu\b|(end)?if\b|source |comment |(end)?choice', line):
            if block:
                yield name, ''.join(block)
            block = []
            option = re.match(r'(?:menu)?config (\w+)', line)
            name = option.group(1) if option else ''
        block.append(line)
    yield name, ''.join(block)


class Series:
    def __init__(self):
        names = sorted(n for n in os.listdir(f'{TOP}/series') if re.match(r'\d\d-', n))
        self.commits = [Commit(f'{TOP}/series/{n}') for n in names]
        self.added = read(f'{BUILD}/tree/links').split()
        self.patches = [p for p in (line.split('#')[0].strip()
                                    for line in read(f'{TOP}/patches/series').splitlines()) if p]
        self.option_owner = {}
        self.expand()
        self.assign()

    def expand(self):
        """A commit for each patch that is in no other."""
        named = {p for c in self.commits for p in c.patches}
        commits = []
        for commit in self.commits:
            if not commit.each:
                commits.append(commit)
                continue
            for patch in self.patches:
                if patch not in named and any(fnmatch.fnmatchcase(patch, p) for p in commit.each):
                    commits.append(commit.of_patch(patch))
        self.commits = commits

    def assign(self):
        for f in self.added:
            commit = owner_of('file', f, self.commits, lambda c: c.patterns)
            commit.files.append(f)
        for patch in self.patches:
            owner_of('patch', patch, self.commits, lambda c: c.patches)
        for commit in self.commits:
            for patch in commit.patches:
                if patch not in self.patches:
                    raise Wrong(f'series/{commit.name}: no such patch: {patch}')
            for pattern in commit.patterns:
                if not fnmatch.filter(self.added, pattern):
                    raise Wrong(f'series/{commit.name}: no such file: {pattern}')
        for f in self.added:
            if os.path.basename(f) == 'Kconfig':
                for name, _ in entries(read(f'{TREE}/{f}')):
                    if name:
                        self.option_owner[name] = owner_of(
                            'option', name, self.commits, lambda c: c.options)
        if sum(c.maintainers for c in self.commits) != 1:
            raise Wrong('MAINTAINERS: no commit in series/ has it, or several')


class Growing:
    """What a Makefile or Kconfig is when only some files are there."""
    def __init__(self, series, present, options):
        self.absent = set(series.added) - present
        self.present = present
        self.later = set(series.option_owner) - options

    def names_absent(self, directory, word):
        path = os.path.normpath(os.path.join(directory, word))
        if word.endswith('/'):
            below = path + '/'
            return any(f.startswith(below) for f in self.absent) and \
                not any(f.startswith(below) for f in self.present)
        return path in self.absent or path + '.c' in self.absent or \
            (word.endswith('.o') and path[:-2] + '.c' in self.absent)

    def makefile(self, directory, text):
        out = []
        for line in re.findall(r'(?:.*\\\n)*.*\n', text):
            match = re.match(r'([\w$()-]+\s*[:+?]?=[ \t]*)(.*)', line, re.S)
            if not match:
                out.append(line)
                continue
            head, rows = match.group(1), match.group(2).rstrip('\n').split('\\\n')
            kept = [[w for w in row.split() if not self.names_absent(directory, w)]
                    for row in rows]
            if [w for row in kept for w in row] == match.group(2).replace('\\\n', ' ').split():
                out.append(line)
                continue
            kept = [' '.join(row) for row in kept if row]
            if kept:
                indent = re.match(r'\s*', rows[-1]).group(0) if len(rows) > 1 else ''
                out.append(head + (' \\\n' + indent).join(kept) + '\n')
        return ''.join(out)

    def kconfig(self, text):
        def gone(name, block):
            source = re.match(r'source "(.*)"', block)
            return name in self.later or (source and source.group(1) in self.absent)

        kept = ''.join(b for n, b in entries(text) if not gone(n, b))
        return kept.rstrip('\n') + '\n'

    def filter(self, path, text):
        name = os.path.basename(path)
        if name in ('Makefile', 'Kbuild'):
            return self.makefile(os.path.dirname(path), text)
        if name.startswith('Kconfig'):
            return self.kconfig(text)
        return text


GROWS = re.compile(r'(.*/)?(Makefile|Kbuild|Kconfig[^/]*)$')


class Repository:
    def __init__(self, series, path):
        self.series, self.path, self.whole = series, path, path + '.whole'
        for d in (path, self.whole):
            shutil.rmtree(d, ignore_errors=True)
            os.makedirs(d)
        maintainer = re.search(r'^M:\t(.*) <(.*)>', read(f'{TOP}/MAINTAINERS'), re.M)
        self.who = f'{maintainer.group(1)} <{maintainer.group(2)}>'
        date = subprocess.run(['git', '-C', TOP, 'log', '-1', '--format=%cI'], check=False,
                              capture_output=True, text=True).stdout.strip()
        self.env = dict(os.environ, GIT_CONFIG_GLOBAL='/dev/null', GIT_CONFIG_SYSTEM='/dev/null')
        for role in ('AUTHOR', 'COMMITTER'):
            self.env[f'GIT_{role}_NAME'] = maintainer.group(1)
            self.env[f'GIT_{role}_EMAIL'] = maintainer.group(2)
            if date:
                self.env[f'GIT_{role}_DATE'] = date
        self.git('init', '-q', '-b', 'series')

    def git(self, *args, **kwargs):
        subprocess.run(['git', '-C', self.path, *args], check=True, env=self.env, **kwargs)

    def put(self, source, path, root):
        target = f'{root}/{path}'
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(source, target)
        shutil.copymode(source, target)

    def base(self):
        """The files of the base that the series changes, as they are there."""
        self.put(f'{BUILD}/tree/MAINTAINERS', 'MAINTAINERS', self.whole)
        done = set()
        for patch in self.series.patches:
            top = f'{TREE}/.pc/{patch}'
            for where, _, names in os.walk(top):
                for name in names:
                    path = os.path.relpath(f'{where}/{name}', top)
                    if name == '.timestamp' or path in done:
                        continue
                    done.add(path)
                    # quilt keeps an empty file for what a patch makes.
                    if os.path.getsize(f'{where}/{name}'):
                        self.put(f'{where}/{name}', path, self.whole)
        shutil.copytree(self.whole, self.path, dirs_exist_ok=True)
        self.git('add', '-f', '-A')
        self.git('commit', '-q', '-m', 'base')
        self.git('tag', 'base')

    def apply(self, commit):
        for patch in commit.patches:
            done = subprocess.run(['patch', '-d', self.whole, '-p1', '-s', '-f', '-F0',
                                   '--no-backup-if-mismatch', '-i', f'{TOP}/patches/{patch}'],
                                  check=False, capture_output=True, text=True)
            if done.returncode:
                raise Wrong(f'series/{commit.name}: {patch} does not apply here: '
                            + done.stdout.strip().split('\n')[0])
        for f in commit.files:
            self.put(os.path.realpath(f'{TREE}/{f}'), f, self.whole)
        if commit.maintainers:
            self.put(f'{TREE}/MAINTAINERS', 'MAINTAINERS', self.whole)

    def commit(self, commit, growing):
        for where, _, names in os.walk(self.whole):
            for name in names:
                path = os.path.relpath(f'{where}/{name}', self.whole)
                self.put(f'{where}/{name}', path, self.path)
                if GROWS.match(path):
                    text = growing.filter(path, read(f'{where}/{name}'))
                    with open(f'{self.path}/{path}', 'w', encoding='utf-8') as f:
                        f.write(text)
        self.git('add', '-f', '-A')
        if not subprocess.run(['git', '-C', self.path, 'diff', '--cached', '--quiet'],
                              check=False).returncode:
            raise Wrong(f'series/{commit.name}: nothing is in it')
        message = f'{commit.message}\nSigned-off-by: {self.who}\n'
        self.git('commit', '-q', '-F', '-', input=message, text=True)

    def compare(self):
        """The last commit is the assembled tree, byte for byte."""
        listed = subprocess.run(['git', '-C', self.path, 'ls-files', '-z'], check=True,
                                capture_output=True, text=True).stdout.split('\0')
        for path in filter(None, listed):
            with open(f'{self.path}/{path}', 'rb') as a, open(f'{TREE}/{path}', 'rb') as b:
                if a.read() != b.read():
                    raise Wrong(f'{path}: not what is in the assembled tree')
        return len(listed) - 1


def make(series, path):
    repo = Repository(series, path)
    repo.base()
    present, options = set(), set()
    for commit in series.commits:
        present |= set(commit.files)
        options |= {o for o, owner in series.option_owner.items() if owner is commit}
        repo.apply(commit)
        repo.commit(commit, Growing(series, present, options))
    print(f'{len(series.commits)} commits, {repo.compare()} files as in the assembled tree')
    shutil.rmtree(repo.whole)


def main():
    try:
        series = Series()
        if sys.argv[1] == 'commit':
            make(series, sys.argv[2])
    except Wrong as wrong:
        sys.exit(f'{wrong}')


if __name__ == '__main__':
    main()
