"""A page of the documents: its blocks of code, what each is to do, and its run on machines.

    ```sh           run on the first machine, in the shell that all blocks of the page share
    ```sh each      run on the first three machines at once
    ```sh on 2      run on the second machine
    ```sh fails     its last command has to fail
    ```sh checked   not run: its programs, files and options have to exist
    ```text         what the block before it prints; `...` stands for anything, on a line of its own
                    for any lines
    ```cfg          lines of a zoo.cfg: zabfsd has to know the keys
    ```yaml         not a command

A command with the comment `until Ctrl-C` gets a Ctrl-C after two seconds.
"""
import os
import re
import shlex
import shutil
from dataclasses import dataclass

from sandbox import ROOT, run

DOCS = os.path.join(ROOT, "packaging", "docs")
FENCE = re.compile(r"^```([a-z]*) ?(.*)\n((?:.*\n)*?)```$", re.M)
MARKS = re.compile(r"|each|on [234]|fails|checked")
LANGUAGES = ("sh", "text", "cfg", "yaml")
ENDLESS = re.compile(r"^(.*\S)\s+# .*until Ctrl-C.*$", re.M)


@dataclass
class Block:
    language: str
    mark: str
    text: str
    line: int
    heading: str

    def script(self):
        return ENDLESS.sub(r"timeout -s INT 2 \1 || [ $? = 124 ]", self.text)


def read_page(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


def blocks_of(text):
    blocks = []
    for found in FENCE.finditer(text):
        before = text[:found.start()]
        headings = re.findall(r"^#+ (.*)$", FENCE.sub("", before), re.M)
        blocks.append(Block(found[1], found[2].strip(), found[3], before.count("\n") + 1,
                            headings[-1] if headings else ""))
    return blocks


def pattern_of(expected):
    """What a block of text stands for."""
    lines = []
    for line in expected.splitlines():
        if line == "...":
            lines.append(r"(?:.*\n)*?")
        else:
            words = [r"\s+".join(map(re.escape, part.split(" "))) for part in line.split("...")]
            lines.append(".*?".join(words) + r"[ \t]*\n")
    return re.compile("^" + "".join(lines), re.M)


def prints(expected, output):
    return pattern_of(expected).search(output + "\n") is not None


class Run:
    """The blocks of a page, in their order, on the machines of a lab."""

    def __init__(self, test, name, lab):
        self.test = test
        self.name = name
        self.machines = lab.machines

    def fail(self, block, why, output):
        for machine in self.machines:
            output += f"--- log of {machine.name}:\n" + machine.sh("tail -n 15 /run/systemd/zabfs*.log")
        self.test.fail(f"{self.name}:{block.line}, under \"{block.heading}\": {why}\n{block.text}"
                       f"--- it printed:\n{output}")

    def run_block(self, block):
        """What the block printed."""
        numbers = {"each": [0, 1, 2], "on 2": [1], "on 3": [2], "on 4": [3]}.get(block.mark, [0])
        for n in numbers:
            self.machines[n].begin(block.script(), block.mark == "fails")
        ends = [self.machines[n].end() for n in numbers]
        output = "".join(text for text, _ in ends)
        if not all(did for _, did in ends):
            self.fail(block, "it did not do what it should", output)
        return output

    def run(self, blocks):
        output = ""
        for block in blocks:
            if block.language == "text":
                if not prints(block.text, output):
                    self.fail(block, "the output is another", output)
            elif block.language == "sh" and block.mark != "checked":
                output = self.run_block(block)


# Programs that the documents name and that need not be on the machine that tests.
ELSEWHERE = {"docker", "modprobe"}


def commands_of(script):
    """The single commands of a block, as words."""
    script = script.replace("\\\n", " ")
    for line in script.splitlines():
        words = shlex.split(line, comments=True)
        command = []
        for word in [*words, "&&"]:
            if word in ("&&", "||", "|", ";", "&"):
                while command and re.fullmatch(r"\w+=.*", command[0]):
                    command.pop(0)
                if command:
                    yield command
                command = []
            else:
                command.append(word)


def help_of(program, arguments):
    own = os.path.join(ROOT, program)
    if "/" in program and os.path.exists(own):
        with open(own) as f:
            return f.read()
    told = [run(program, "--help")]
    if arguments and arguments[0].isalpha():  # as in `docker build`
        told.append(run(program, arguments[0], "--help"))
    return "".join(result.stdout + result.stderr for result in told)


def flaws_of(block):
    """What a block names that does not exist, and what could not be told."""
    flaws, unknown = [], []
    for program, *arguments in commands_of(block.text):
        if "/" in program:
            exists = os.path.exists(os.path.join(ROOT, program))
        else:
            exists = shutil.which(program) is not None
        if not exists:
            (unknown if program in ELSEWHERE else flaws).append(f"{program} is not here")
            continue
        told = None
        for option in (a.split("=")[0] for a in arguments if a.startswith("-")):
            told = help_of(program, arguments) if told is None else told
            if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", told):
                flaws.append(f"{program} has no {option}")
    return flaws, unknown
