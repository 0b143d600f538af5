"""Asks programs what they say of their production configuration: chart_config.py REPOSITORY RENDERED PROGRAMS.

It is `check-config` on the ConfigMap of every chart, as its production values make it: keys that are not there, values
that are missing or wrong, and what production refuses. Where programs read the files that are mounted at /files,
ci/files of the chart has samples of them. A program that is not built is not asked.
"""

import pathlib
import subprocess
import sys

import yaml

SUFFIX = "-production.yaml"
repository, rendered, programs = map(pathlib.Path, sys.argv[1:])


def configuration(manifests, samples):
    """What the chart's pods are given, with the samples in place of the mounts."""
    documents = filter(None, yaml.safe_load_all(manifests.read_text()))
    config = next(document for document in documents if document["kind"] == "ConfigMap")
    text = config["data"]["config.toml"]
    return text.replace('"/files/', f'"{samples}/').replace('"file:/files/', f'"file:{samples}/')


def refusal(program, file):
    """What the program has against a configuration; nothing: it takes it."""
    asked = subprocess.run([program, "--config", file, "check-config"], env={}, capture_output=True, text=True)
    return asked.returncode and (asked.stderr.strip() or f"it ended with {asked.returncode}")


refused = 0
for manifests in sorted(rendered.glob(f"*{SUFFIX}")):
    service = manifests.name.removesuffix(SUFFIX)
    program = programs / service
    if not program.exists():
        print(f"charts: {service} is not built (scripts/test build) and was not asked about its configuration")
        continue
    file = rendered / f"{service}-production.toml"
    text = configuration(manifests, repository / "charts" / service / "ci/files")
    file.write_text(text)
    problem = refusal(program, file)
    if problem:
        refused += 1
        print(f"charts: {program} refuses {file}: {problem}")
        continue
    print(f"charts: {service} takes its production configuration")
    # Whoever takes this takes anything.
    file.write_text(f"{text}\n[no_such_section]\n")
    if not refusal(program, file):
        refused += 1
        print(f"charts: {program} takes a section that is not there")
    file.write_text(text)
sys.exit(bool(refused))
