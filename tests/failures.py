"""Why tests failed, in short: their own output is thousands of lines before ctest's last one.

    failures.py BUILD    a directory in which ctest has just run
"""
import os
import re
import sys

MOST_TESTS, MOST_LINES, LONGEST_LINE = 8, 12, 300
# Of unittest, of GoogleTest, of a sanitizer, and of a daemon that ended itself.
TELLING = re.compile(r"^(FAIL|ERROR): |^\w*(Error|Exception|Interrupt)\b|: Failure$|^\[  FAILED  \]"
                     r"|Sanitizer|runtime error:| critical ")
END_OF_OUTPUT = "<end of output>"


def failed_tests(log):
    """(name, lines of its output) of each test that did not pass, by ctest's LastTest.log."""
    for part in re.split(r"^\d+/\d+ Test: ", log, flags=re.M)[1:]:
        name, _, rest = part.partition("\n")
        output, _, verdict = rest.partition("\nOutput:\n")[2].rpartition(END_OF_OUTPUT)
        if "\nTest Passed.\n" not in verdict and "\nTest Pass Reason:" not in verdict:
            yield name, [line for line in output.splitlines() if line]


def main():
    build = sys.argv[1]
    with open(os.path.join(build, "Testing", "Temporary", "LastTest.log"), errors="replace") as f:
        failed = list(failed_tests(f.read()))
    for name, lines in failed[:MOST_TESTS]:
        telling = list(dict.fromkeys(line for line in lines if TELLING.search(line)))
        print(f"{name} (in {build}) failed:")
        for line in telling[:MOST_LINES] or lines[-MOST_LINES:]:
            print("  " + line[:LONGEST_LINE])
    if failed:
        print(f"{len(failed)} failed in {build}: " + ", ".join(name for name, _ in failed))


if __name__ == "__main__":
    main()
