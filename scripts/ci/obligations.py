"""Checks that every obligation that is claimed has a test that ran and passed, and so every
test and figure that a document names.

obligations.py OBLIGATIONS_TSV DOCUMENT.md... RESULT...   RESULT: JUnit files of the test runs, or
lines `NAME: passed` written by other parts of scripts/test.

A row is `id <tab> test`, where test is the name of a test as nextest prints it
(`billing::it paying_twice_is_refused`) or the name of a figure (`figure kill-each`).

A document names tests by `module::test`, or `module::*`, and figures by figure `name`.
"""

import re
import sys
import xml.etree.ElementTree as xml

table, *results = sys.argv[1:]
documents = [path for path in results if path.endswith(".md")]
results = [path for path in results if not path.endswith(".md")]
passed = set()
for path in results:
    if path.endswith(".xml"):
        for suite in xml.parse(path).getroot().iter("testsuite"):
            for case in suite.iter("testcase"):
                if case.find("failure") is None and case.find("error") is None and case.find("skipped") is None:
                    passed.add(f"{suite.get('name')} {case.get('name')}")
    else:
        with open(path, encoding="utf-8") as lines:
            passed |= {line.rsplit(":", 1)[0].strip() for line in lines if line.strip().endswith(": passed")}

problems, rows, seen = [], 0, set()
with open(table, encoding="utf-8") as lines:
    for number, line in enumerate(lines, 1):
        if line.startswith("#") or not line.strip():
            continue
        fields = line.rstrip("\n").split("\t")
        if len(fields) != 2 or not re.fullmatch(r"[TPLC][0-9A-Za-z.-]+", fields[0]):
            problems.append(f"line {number}: not `id <tab> test`")
            continue
        rows += 1
        if tuple(fields) in seen:
            problems.append(f"line {number}: {fields[0]} twice with the same test")
        seen.add(tuple(fields))
        if fields[1] not in passed:
            problems.append(f"{fields[0]}: {fields[1]} did not run and pass")

# `domain::money::tests::a_name` is named `money::a_name`.
short = {name.split(" ", 1)[1].replace("::tests", "") for name in passed if " " in name}
named = 0
for path in documents:
    with open(path, encoding="utf-8") as file:
        text = file.read()
    figures = set(re.findall(r"figure `([a-z-]+)`", text))
    tests = set(re.findall(r"`([a-z_0-9]+::(?:[a-z_0-9]+|\*))`", text))
    named += len(figures) + len(tests)
    problems += [f"{path}: figure {name} did not run and hold" for name in sorted(figures) if f"figure {name}" not in passed]
    for name in sorted(tests):
        begin = name.removesuffix("*")
        if not any(f"::{test}".find(f"::{begin}") >= 0 if name != begin else f"::{test}".endswith(f"::{name}") for test in short):
            problems.append(f"{path}: {name} did not run and pass")

for problem in problems:
    print(problem)
print(f"obligations: {len({row for row, _ in seen})} rows met by {len({test for _, test in seen})} tests, {named} names in documents, {len(problems)} problems")
sys.exit(bool(problems))
