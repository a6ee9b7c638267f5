"""The sources of one library can be compiled several at a time (unity builds, as the sanitizers'
are): no two of them define the same name in an unnamed namespace."""
import os
import re
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ("tree", "consensus", "fsd", "tests/unit", "tests/sim")

TARGET = re.compile(r"(?:add_library|add_executable|zabfs_test)\((\w+)(?: STATIC)?\s+([^)]*)\)")
UNNAMED = re.compile(r"^namespace \{\n(.*?)^\}  // namespace\n", re.M | re.S)
TYPE = re.compile(r"^(?:struct|class|enum class) (\w+)", re.M)
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
                targets += 1
                of = {}
                for source in listed.split():
                    path = source.replace("${CMAKE_SOURCE_DIR}", ".")
                    path = path if path.startswith(".") else f"{folder}/{source}"
                    if not path.endswith(".cc") or "$" in path:
                        continue
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
