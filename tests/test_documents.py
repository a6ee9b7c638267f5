"""The documents that the code cites: they exist, and so do their sections, headings and files."""
import os
import re
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SKIPPED = {"build", "__pycache__"}  # and what begins with a dot
SOURCES = (".h", ".cc", ".py", ".java")

# A document, and what is cited of it: `ZAB.md section 3`, `FORMATS.md 1.6, 1.10`,
# `DESIGN.md, "Reads and writes"`.
CITATION = re.compile(r'(?P<name>[\w./-]*\w\.md)\b'
                      r'(?:,? sections? (?P<section>\d+(?:\.\d+)*)'
                      r'|,? (?P<numbers>\d+\.\d+(?:(?:, | and )\d+\.\d+)*)'
                      r'|, "(?P<heading>[^"\n]+)")?')
HEADING = re.compile(r"^#+ (?:(\d+(?:\.\d+)*)\.? )?(.*?)(?: [\[(][^\])]*[\])])?$", re.M)
BACKTICKED = re.compile(r"`([^`]+)`")
FILE_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)*\.(?:h|cc|py|md|java)")
PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)+/?")
LISTED = re.compile(r"^(?:-|\d+\.) `([\w./-]+)`", re.M)  # what an item of a list begins with


def all_files():
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(f for f in folders if f not in SKIPPED and not f.startswith("."))
        for name in sorted(names):
            yield os.path.relpath(os.path.join(folder, name), ROOT)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def without_line_breaks(text, mark):
    """Comments as running text: a citation may go on in the next line."""
    return re.sub(rf"\n[ \t]*(?:{mark})?[ \t]*", " ", text)


class Documents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.files = list(all_files())
        cls.documents = [f for f in cls.files if f.endswith(".md")]

    def named(self, name, by):
        """The documents that a name can mean: a path from the top or from who names it, or the bare
        name of a document anywhere."""
        near = os.path.normpath(os.path.join(os.path.dirname(by), name))
        exact = [path for path in (name, near) if path in self.documents]
        if exact or "/" in name:
            return exact
        return [path for path in self.documents if os.path.basename(path) == name]

    def sections(self, document):
        headings = HEADING.findall(read(document))
        return {number for number, _ in headings}, {title for _, title in headings}

    def check(self, by, text):
        for cited in CITATION.finditer(text):
            documents = self.named(cited["name"], by)
            with self.subTest(by=by, cited=cited[0]):
                self.assertTrue(documents, f"{by} names {cited['name']}, which is nowhere")
                numbers = re.findall(r"\d+(?:\.\d+)*", cited["section"] or cited["numbers"] or "")
                for number in numbers:
                    self.assertTrue(any(number in self.sections(d)[0] for d in documents),
                                    f"{by} cites section {number} of {documents}, which has none")
                if cited["heading"]:
                    self.assertTrue(any(cited["heading"] in self.sections(d)[1] for d in documents),
                                    f"{by} cites \"{cited['heading']}\" of {documents}, which has "
                                    "no such heading")

    def test_what_the_code_cites_exists(self):
        for path in self.files:
            if path.endswith(SOURCES):
                mark = "#" if path.endswith(".py") else "//"
            elif os.path.basename(path) == "CMakeLists.txt":
                mark = "#"
            else:
                continue
            self.check(path, without_line_breaks(read(path), mark))

    def test_what_documents_cite_exists(self):
        for path in self.documents:
            self.check(path, without_line_breaks(read(path), "-"))

    def exists(self, name, folder):
        """A path below the folder, from the top, or a name of something below the folder."""
        from_top = os.path.normpath(name)
        path = os.path.normpath(os.path.join(folder, name))
        if any(os.path.exists(os.path.join(ROOT, p)) for p in (path, from_top)):
            return True
        inside = "" if folder == "." else folder + "/"
        return any(f.startswith(inside) and f.endswith("/" + from_top) for f in self.files)

    def test_what_a_readme_lists_exists(self):
        tops = {f.split("/")[0] for f in self.files if "/" in f}
        for readme in self.documents:
            if os.path.basename(readme) != "README.md":
                continue
            folder = os.path.dirname(readme) or "."
            text = read(readme)
            own = {f.split("/")[0] for f in os.listdir(os.path.join(ROOT, folder))}
            names = set(LISTED.findall(text)) if folder != "." else set()
            for name in BACKTICKED.findall(text.replace("\n", " ")):
                is_path = PATH.fullmatch(name) and name.split("/")[0] in tops | own
                if is_path or FILE_NAME.fullmatch(name):
                    names.add(name)
            for name in sorted(names):
                with self.subTest(readme=readme, name=name):
                    self.assertTrue(self.exists(name, folder), f"{readme}: there is no {name}")


class Patterns(unittest.TestCase):
    """That the test above finds what it is to check."""

    def cited(self, comment):
        return [{key: value for key, value in found.groupdict().items() if value}
                for found in CITATION.finditer(without_line_breaks(comment, "//"))]

    def test_the_documents_have_the_keys_of_zoo_cfg(self):
        build = os.environ.get("ZABFS_BUILD", os.path.join(ROOT, "build"))
        told = subprocess.run([os.path.join(build, "bin", "zabfsd"), "--keys"],
                              capture_output=True, text=True, check=True).stdout
        own, _, zookeepers = told.partition("\n\n")
        self.assertIn(own, read("packaging/docs/configuration.md"))
        self.assertIn("| `tickTime` |", zookeepers)
        self.assertIn(zookeepers.strip(), read("fsd/config/KEYS.md"))

    def test_citations(self):
        name = "ZAB" + ".md"
        self.assertEqual(self.cited(f"// Rules: {name} section 3; Java: Leader."),
                         [{"name": name, "section": "3"}])
        self.assertEqual(self.cited(f"({name} 1.6, 1.10)"), [{"name": name, "numbers": "1.6, 1.10"}])
        self.assertEqual(self.cited(f'// file ({name}, "Znodes as\n// files"). Pure'),
                         [{"name": name, "heading": "Znodes as files"}])
        self.assertEqual(self.cited(f"see fuse/{name}."), [{"name": "fuse/" + name}])

    def test_headings(self):
        text = "## 1. Client protocol\n### 1.14 Path rules [B]\n## inotify\n"
        self.assertEqual(HEADING.findall(text), [("1", "Client protocol"), ("1.14", "Path rules"),
                                                 ("", "inotify")])


if __name__ == "__main__":
    unittest.main()
