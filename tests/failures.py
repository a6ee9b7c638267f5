"""Why tests failed, in short: their own output is thousands of lines before ctest's last one.

    failures.py BUILD    a directory in which ctest has just run
"""
import os
import re
import sys

LINES = 25  # of each test that failed, its last ones
MOST_TESTS = 8
RULE = re.compile(r"^-{20,}$")
END_OF_OUTPUT = "<end of output>"


def failed_tests(log):
    """(name, lines of its output) of each test that did not pass, by ctest's LastTest.log."""
    for part in re.split(r"^\d+/\d+ Test: ", log, flags=re.M)[1:]:
        name, _, rest = part.partition("\n")
        output, _, verdict = rest.partition("\nOutput:\n")[2].rpartition(END_OF_OUTPUT)
        if "\nTest Passed.\n" not in verdict and "\nTest Pass Reason:" not in verdict:
            yield name, [line for line in output.splitlines() if line and not RULE.match(line)]


def main():
    build = sys.argv[1]
    with open(os.path.join(build, "Testing", "Temporary", "LastTest.log"), errors="replace") as f:
        failed = list(failed_tests(f.read()))
    for name, lines in failed[:MOST_TESTS]:
        print(f"\n{name} (in {build}) failed. The end of its output:")
        print("\n".join("  " + line[:200] for line in lines[-LINES:]))
    if failed:
        print(f"\n{len(failed)} failed in {build}: " + ", ".join(name for name, _ in failed))


if __name__ == "__main__":
    main()
