"""Applies mutants.txt to copies of the sources.

mutate.py MUTANTS SOURCE_ROOT OUTPUT_ROOT writes OUTPUT_ROOT/<path> for each source file named, and
OUTPUT_ROOT/mutants.cc, the table of the mutants. An edit whose text is not in its file, or more than
once, is an error: the code has changed, and the mutant has to follow. White space does not count.
"""
import os
import re
import sys


class Edit:
    def __init__(self, line, mutant, path):
        self.line, self.mutant, self.path = line, mutant, path
        self.old, self.new = [], []


def parse(path):
    """Mutants as (name, rule), their words, and the edits in order."""
    mutants, words, edits = [], {}, []
    file = None
    with open(path) as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            if line.startswith("== "):
                mutants.append([line[3:], ""])
                words[len(mutants)] = ["MUTANT"]
                file = None
            elif line.startswith("rule: "):
                mutants[-1][1] = line[6:]
            elif line.startswith("also: "):
                words[len(mutants)].append(line[6:])
            elif line.startswith("- "):
                if not edits or edits[-1].new or edits[-1].mutant != len(mutants) or edits[-1].path != file:
                    edits.append(Edit(number, len(mutants), file))
                edits[-1].old.append(line[2:].strip())
            elif line.startswith("+ "):
                edits[-1].new.append(line[2:])
            else:
                file = line
    return mutants, words, edits


def check(number):
    return f"(::zabfs::sim::active_mutant == {number})"


def apply(edit, text, words):
    places = [i for i, c in enumerate(text) if not c.isspace()]
    packed = "".join(text[i] for i in places)
    old = "".join("".join(edit.old).split())
    if packed.count(old) != 1:
        sys.exit(f"mutants.txt:{edit.line}: this is {packed.count(old)} times in {edit.path}, and "
                 f"must be there once:\n" + "\n".join(edit.old))
    new = "\n".join(edit.new)
    new = re.sub(r"\bMUTANT\b", check(edit.mutant), new)
    for number, own in words.items():
        for word in own[1:]:
            new = re.sub(rf"\b{word}\b", check(number), new)
    begin = packed.index(old)
    return text[:places[begin]] + new + text[places[begin + len(old) - 1] + 1:]


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def main(mutants_path, source, output):
    mutants, words, edits = parse(mutants_path)
    files = {}
    for edit in edits:
        if edit.path not in files:
            with open(os.path.join(source, edit.path)) as f:
                files[edit.path] = f.read()
        files[edit.path] = apply(edit, files[edit.path], words)
    for path, text in files.items():
        write(os.path.join(output, path), '#include "sim/mutants.h"\n' + text)
    rows = "".join(f'    {{"{name}", "{rule}"}},\n' for name, rule in mutants)
    write(os.path.join(output, "mutants.cc"),
          '#include "sim/mutants.h"\n\nnamespace zabfs::sim {\n\nint active_mutant = 0;\n\n'
          'const std::vector<MutantInfo>& mutants() {\n'
          '  static const std::vector<MutantInfo> all{\n' + rows + "  };\n  return all;\n}\n\n"
          "}  // namespace zabfs::sim\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
