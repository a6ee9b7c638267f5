"""Every command of README.md and of packaging/docs is run, in the order of its page (page.py), on
machines of its own (sandbox.py). It is said which ones are only looked at."""
import glob
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from page import (DOCS, FENCE, LANGUAGES, MARKS, Block, Run, blocks_of, flaws_of, pattern_of,  # noqa: E402
                  prints, read_page)
from sandbox import ROOT, Lab, Machine, run  # noqa: E402
from harness import ZABFSD  # noqa: E402

README = "README.md"
PAGES = sorted(os.path.relpath(path, ROOT) for path in glob.glob(DOCS + "/*.md"))
TROUBLES = "packaging/docs/troubleshooting.md"  # test_troubleshooting.py
STEPS = "Three machines, step by step"


def steps():
    """What README does to have three nodes."""
    return [block for block in blocks_of(read_page(README)) if block.heading == STEPS]


def one_node():
    return [Block("sh", "", "systemctl enable --now zabfs", 0, "one node")]


def run_page(test, name):
    blocks = blocks_of(read_page(name))
    marks = {block.mark for block in blocks}
    lab = Lab(4 if "on 4" in marks else 3 if marks & {"each", "on 2", "on 3"} else 1)
    test.addCleanup(lab.stop)
    if name != README:
        Run(test, README, lab).run(steps() if len(lab.machines) > 1 else one_node())
    Run(test, name, lab).run(blocks)


class Commands(unittest.TestCase):
    def test_readme(self):
        run_page(self, README)


def add_test(name):
    def test(self):
        run_page(self, name)
    setattr(Commands, "test_" + os.path.basename(name).removesuffix(".md"), test)


for page in PAGES:
    if page != TROUBLES:
        add_test(page)


class Pages(unittest.TestCase):
    def blocks(self):
        for name in (README, *PAGES):
            for block in blocks_of(read_page(name)):
                yield name, block

    def test_every_block_is_marked_in_a_known_way(self):
        for name, block in self.blocks():
            with self.subTest(page=name, line=block.line):
                self.assertIn(block.language, LANGUAGES)
                self.assertRegex(block.mark, rf"^({MARKS.pattern})$")
                self.assertTrue(block.language == "sh" or not block.mark)

    def test_no_code_hides_from_this_test(self):
        for name in (README, *PAGES):
            text = FENCE.sub("", read_page(name))
            self.assertNotIn("```", text, f"{name}: a fence that is not closed")
            self.assertEqual(re.findall(r"(?<=\n)\n(?:    |\t).*", text), [], f"{name}: code without a fence")

    def test_what_is_not_run_exists(self):
        for name, block in self.blocks():
            if block.mark != "checked":
                continue
            flaws, unknown = flaws_of(block)
            print(f"not run, only looked at: {name}:{block.line}: {block.text.splitlines()[0]}"
                  + "".join(f"; {what}, so not even that" for what in unknown), file=sys.stderr)
            self.assertEqual(flaws, [], f"{name}:{block.line}")

    def test_lines_of_a_zoo_cfg_are_known(self):
        known = set(re.findall(r"`([^`\n]+)`", run(ZABFSD, "--keys").stdout))
        for name, block in self.blocks():
            if block.language != "cfg":
                continue
            for line in block.text.splitlines():
                key = line.split("=")[0]
                with self.subTest(page=name, line=line):
                    self.assertTrue(not line or line.startswith("#") or any(
                        re.fullmatch(re.escape(k).replace(r"\*", ".*").replace("N", r"\d+")
                                     if k.endswith(("*", ".N")) else re.escape(k), key) for k in known), key)

    def test_links_lead_somewhere(self):
        for name in (README, *PAGES):
            for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", read_page(name)):
                if not target.startswith("http"):
                    path = os.path.normpath(os.path.join(ROOT, os.path.dirname(name), target))
                    self.assertTrue(os.path.exists(path), f"{name}: {target}")
            for page in PAGES:
                if name == README:
                    self.assertIn(f"({page})", read_page(name), "a page that README does not name")


class TheTestItself(unittest.TestCase):
    """That it finds what it is to find."""

    def test_blocks(self):
        text = "# A\n```sh on 2\nx\n```\nand\n```text\ny\n```\n## B\n```sh\n# no heading\n```\n"
        self.assertEqual(blocks_of(text), [Block("sh", "on 2", "x\n", 2, "A"), Block("text", "", "y\n", 6, "A"),
                                           Block("sh", "", "# no heading\n", 10, "B")])

    def test_output(self):
        self.assertTrue(prints("a ... c\n...\nd\n", "z\na b c\nx\nd\n"))
        self.assertFalse(prints("a\nd\n", "a\nx\nd\n"))
        self.assertFalse(prints("a\n", "ab\n"))
        self.assertIsNone(pattern_of("a.c\n").search("abc\n"))

    def test_what_is_only_looked_at(self):
        block = Block("sh", "checked", "tests/run --soak 1 && nowhere -x\nzcat --frobnicate x | cat\n", 1, "")
        self.assertEqual(flaws_of(block), (["nowhere is not here", "zcat has no --frobnicate"], []))

    def test_a_command_that_fails_or_succeeds_where_it_should_not_is_seen(self):
        machine = Machine()
        self.addCleanup(machine.stop)
        machine.begin("cd /tmp; x=1")
        self.assertEqual(machine.end(), ("", True))
        machine.begin("pwd; echo $x; hostname")
        self.assertEqual(machine.end(), ("/tmp\n1\nnode1\n", True))
        machine.begin("echo a; false; echo b", fails=True)
        self.assertEqual(machine.end(), ("a\n", True))
        machine.begin("echo c", fails=True)
        self.assertFalse(machine.end()[1])
        other = Machine(2)
        self.addCleanup(other.stop)
        other.begin("false; echo d")
        self.assertEqual(other.end(), ("", False))


if __name__ == "__main__":
    unittest.main(verbosity=2)
