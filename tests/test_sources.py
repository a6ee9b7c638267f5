"""The sources of one library can be compiled several at a time (unity builds, as the sanitizers'
are): no two of them define the same name in an unnamed namespace."""
import os
import re
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ("tree", "consensus", "fsd")

TARGET = re.compile(r"add_(?:library|executable)\((\w+)(?: STATIC)?\s+([^)]*)\)")
UNNAMED = re.compile(r"^namespace \{\n(.*?)^\}  // namespace\n", re.M | re.S)
TYPE = re.compile(r"^(?:struct|class|enum class|using) (\w+)", re.M)
VALUE = re.compile(r"^(?:constexpr|const) [^;{}()=]*?(\w+)(?: =|\[|\{)", re.M)
# Functions may be overloaded: only the same parameters are the same name.
FUNCTION = re.compile(r"^\w[^\n;{}()=]*[ *&](\w+\([^;{]*\)) (?:const )?\{", re.M)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def names_in(source):
    for block in UNNAMED.findall(source):
        for pattern in (TYPE, VALUE, FUNCTION):
            for name in pattern.findall(block):
                yield re.sub(r"\s+", " ", name)


class Sources(unittest.TestCase):
    def test_a_library_has_each_unnamed_name_once(self):
        twice, targets = [], 0
        for folder in FOLDERS:
            for target, listed in TARGET.findall(read(f"{folder}/CMakeLists.txt")):
                sources = [name for name in listed.split() if name.endswith(".cc")]
                targets += 1
                of = {}
                for source in sources:
                    path = f"{folder}/{source}"
                    for name in sorted(set(names_in(read(path)))):
                        first = of.setdefault(name, path)
                        if first != path:
                            twice.append(f"{target}: {name} in {first} and in {path}")
        self.assertGreater(targets, 10)
        self.assertEqual(twice, [])

    def test_names_are_found(self):
        text = ("namespace {\n\nconstexpr int kMagic = 1;\nclass Reader {\n};\n"
                "int sum(int a,\n        int b) {\n}\n\n}  // namespace\nint other() {\n}\n")
        self.assertEqual(set(names_in(text)), {"kMagic", "Reader", "sum(int a, int b)"})


if __name__ == "__main__":
    unittest.main()
