#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What the documents promise of other files, and what is missing is printed:

* Every line that the kernel says when something is refused or damaged stands in
  the administrator's guide.
* Every test that README.md names for a feature is there, and so is every target
  that it or harness/README.md has its reader make.
* harness/README.md has every step of "make check".
* Every DOC: block is in a document.

Runs in the assembled tree; the argument is the repository."""

import fnmatch
import glob
import os
import re
import subprocess
import sys

GUIDE = "Documentation/admin-guide/liveupdate.rst"
LIST = "tools/testing/selftests/liveupdate/qemu-tests.list"
SOURCES = ["kernel/liveupdate/*.c", "mm/memfd_luo*.c"]
# For developers only.
NOT = re.compile("kunit|kho_debug")
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
CALL = re.compile(r"\b(?:pr_(?:err|warn)\w*|luo_\w*(?:err|damaged))\s*\("
                  r'((?:"(?:[^"\\]|\\.)*"|[^;{"])*);')
CONVERSION = re.compile(r"%(?!%)[-#0-9.*]*(?:ll|[lzh])?(?:p[aeVKE]|\*?pE|[a-zA-Z])")


def plain(text):
    return re.sub(r"\s+", " ", text.replace("``", ""))


def formats(source):
    for call in CALL.finditer(re.sub(r"/\*.*?\*/", "", source, flags=re.S)):
        args = call.group(1)
        first = LITERAL.search(args)
        # A macro or function that passes a format on has none of its own.
        if not first or re.search(r"\bfmt\b", args):
            continue
        end = re.match(r'(?:\s*"(?:[^"\\]|\\.)*")+', args[first.start():])
        text = "".join(LITERAL.findall(end.group(0)))
        yield text.replace("\\n", "").replace('\\"', '"')


def is_in(text, guide):
    pieces = [p.replace("%%", "%") for p in CONVERSION.split(plain(text))]
    return re.search(".{0,60}?".join(re.escape(p.strip()) for p in pieces), guide)


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def check_messages():
    guide = plain(read(GUIDE))
    for path in sorted(p for s in SOURCES for p in glob.glob(s) if not NOT.search(p)):
        for text in formats(read(path)):
            if not is_in(text, guide):
                yield f"{path}: not in {GUIDE}: {text}"


def check_tests(repository):
    tests = [line.split()[0] for line in read(LIST).splitlines() if re.match(r"\w", line)]
    # The cells of a table that hold nothing but names.
    for cell in re.findall(r"\|((?: `[^`|]*`)+) \|$", read(f"{repository}/README.md"), flags=re.M):
        for name in re.findall(r"`([^`]*)`", cell):
            if not name.startswith("make ") and not fnmatch.filter(tests, name):
                yield f"README.md: no such test: {name}"


def check_targets(repository):
    database = subprocess.run(["make", "-C", repository, "-pq"], text=True, check=False,
                              capture_output=True).stdout
    targets = re.findall(r"^([a-z][a-z-]*):", database, flags=re.M)
    for path in ["README.md", "harness/README.md", "CHANGELOG.md"]:
        for name in re.findall(r"(?:^    |`)make ([a-z-]+)", read(f"{repository}/{path}"), flags=re.M):
            if name not in targets:
                yield f"{path}: no such target: {name}"


def check_steps(repository):
    readme = read(f"{repository}/harness/README.md")
    for step in re.findall(r"^check_([a-z-]+)\(\)", read(f"{repository}/harness/check.sh"), flags=re.M):
        if f"`{step}`" not in readme:
            yield f"harness/README.md: make check STEP={step} is not in it"


def check_blocks(repository):
    files = subprocess.run(["git", "-C", repository, "ls-files", "-co", "--exclude-standard"],
                           text=True, check=True, capture_output=True).stdout.splitlines()
    files = [f for f in files if os.path.exists(f"{repository}/{f}")]
    included = set()
    for path in fnmatch.filter(files, "Documentation/*.rst"):
        included.update(re.findall(r"^\.\. kernel-doc:: (\S+)\n +:doc: (.*\S)",
                                   read(f"{repository}/{path}"), flags=re.M))
    for path in [f for f in files if re.search(r"\.[ch]$", f)]:
        for title in re.findall(r"^ \* DOC: (.*\S)", read(f"{repository}/{path}"), flags=re.M):
            if (path, title) not in included:
                yield f"{path}: in no document: DOC: {title}"


CHECKS = (check_tests, check_targets, check_steps, check_blocks)
problems = [*check_messages(), *(p for check in CHECKS for p in check(sys.argv[1]))]
print(*problems, sep="\n", end="\n" if problems else "")
sys.exit(bool(problems))
