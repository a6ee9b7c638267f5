#!/usr/bin/env python3
"""Clang's thread-safety analysis of every source that uses consensus/mutex.h, directly or through
its headers. The sources are only parsed, with the arguments of the build's compile_commands.json.

    tests/thread_safety.py [SOURCE...]    all sources, or these
"""
import collections
import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
BUILD = os.environ.get("ZABFS_BUILD", os.path.join(ROOT, "build"))
MUTEX = os.path.join(ROOT, "consensus", "mutex.h")
ROOTS = (ROOT, os.path.join(ROOT, "tests"))
CLANG = ["clang++-14", "-fsyntax-only", "-Wno-everything", "-Wthread-safety",
         "-Werror=thread-safety"]
OURS = re.compile(r'^#include "([^"]+)"', re.MULTILINE)
# What takes long to parse, and means the same wherever it is included. Headers that few sources
# need are not of them: each source pays for all that is in the precompiled one.
SHARED = re.compile(r"^#include <(boost/asio[^>]*|fmt/[^>]+|spdlog/spdlog.h|[a-z_]+)>", re.MULTILINE)
# What is kept of a command: where headers are, what is defined, which C++ it is.
KEPT = re.compile(r"-I|-D|-std=")
# Sources of one directory are parsed several at a time, as the build compiles them.
SEVERAL = 6
TAKES_NEXT = ("-isystem", "-I", "-D")


def read(file):
    with open(file, encoding="utf-8") as source:
        return source.read()


def with_headers(file):
    """The file, and those of our headers that it includes, by whatever way."""
    seen, left = {file}, [file]
    while left:
        here = left.pop()
        for name in OURS.findall(read(here)):
            for root in (os.path.dirname(here), *ROOTS):
                header = os.path.realpath(os.path.join(root, name))
                if os.path.exists(header):
                    if header not in seen:
                        seen.add(header)
                        left.append(header)
                    break
    return seen


def sources():
    listed = subprocess.run(["git", "ls-files", "*.cc"], cwd=ROOT, check=True, capture_output=True,
                            text=True)
    return [os.path.join(ROOT, name) for name in listed.stdout.split()]


def arguments_of(command):
    kept, words = [], iter(shlex.split(command))
    for word in words:
        if word in TAKES_NEXT:
            kept += [word, next(words)]
        elif KEPT.match(word):
            kept.append(word)
    return kept


def precompile(directory, sources, arguments):
    """Makes one of the shared headers, which the sources include again and again."""
    count = collections.Counter(name for file in sources for name in set(SHARED.findall(read(file))))
    header = os.path.join(directory, "shared.h")
    with open(header, "w", encoding="utf-8") as out:
        out.writelines(f"#include <{name}>\n" for name, uses in sorted(count.items()) if uses > 2)
    subprocess.run(["clang++-14", *arguments, "-w", "-fpch-instantiate-templates", "-x", "c++-header",
                    header, "-o", header + ".pch"], check=True)
    return header + ".pch"


def in_groups(files):
    """Not the tests: they may have the same names in different programs."""
    by_directory = collections.defaultdict(list)
    for file in files:
        is_test = file.startswith(os.path.join(ROOT, "tests"))
        by_directory[file if is_test else os.path.dirname(file)].append(file)
    return [same[i:i + SEVERAL] for same in by_directory.values()
            for i in range(0, len(same), SEVERAL)]


def main():
    wanted = {os.path.realpath(name) for name in sys.argv[1:]}
    # Not those that the build names: it may compile several at a time.
    headers = {file: with_headers(file) for file in sources()}
    files = sorted(file for file in headers
                   if (file in wanted if wanted else MUTEX in headers[file]))
    arguments = list(dict.fromkeys(
        word for entry in json.loads(read(os.path.join(BUILD, "compile_commands.json")))
        for word in arguments_of(entry["command"])))
    faulty = 0
    with (tempfile.TemporaryDirectory(prefix="zabfs-thread-safety-") as directory,
          concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool):
        shared = precompile(directory, set().union(*headers.values()), arguments)

        def check(group):
            text = "".join(f'#include "{file}"\n' for file in group)
            return subprocess.run([*CLANG, *arguments, "-include-pch", shared, "-x", "c++", "-"],
                                  cwd=BUILD, input=text, capture_output=True, text=True)

        groups = in_groups(files)
        for group, done in zip(groups, pool.map(check, groups)):
            if done.returncode != 0:
                faulty += 1
                names = ", ".join(os.path.relpath(file, ROOT) for file in group)
                print(f"{names}:\n{done.stdout}{done.stderr}", flush=True)
    print(f"{len(files)} sources in {len(groups)} groups, {faulty} groups with faults")
    return 0 if files and faulty == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
