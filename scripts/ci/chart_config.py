"""Asks programs what they say of their production configuration: chart_config.py REPOSITORY RENDERED PROGRAMS.

It is `check-config` on the ConfigMap of every chart that has ci/files: samples of the files that its
production values mount at /files, which the program reads too. A program that is not built is not asked.
"""

import pathlib
import subprocess
import sys

import yaml

repository, rendered, programs = map(pathlib.Path, sys.argv[1:])


def configuration(service, samples):
    """What the chart's pods are given, with the samples in place of the mounts."""
    documents = filter(None, yaml.safe_load_all((rendered / f"{service}-production.yaml").read_text()))
    config = next(document for document in documents if document["kind"] == "ConfigMap")
    text = config["data"]["config.toml"]
    return text.replace('"/files/', f'"{samples}/').replace('"file:/files/', f'"file:{samples}/')


refused = 0
for samples in sorted(repository.glob("charts/*/ci/files")):
    service = samples.parts[-3]
    program = programs / service
    if not program.exists():
        print(f"charts: {service} is not built (scripts/test build) and was not asked about its configuration")
        continue
    file = rendered / f"{service}-production.toml"
    file.write_text(configuration(service, samples))
    asked = subprocess.run([program, "--config", file, "check-config"], env={}, capture_output=True, text=True)
    if asked.returncode == 0:
        print(f"charts: {service} takes its production configuration")
    else:
        refused += 1
        print(f"charts: {program} refuses {file}: {asked.stderr.strip()}")
sys.exit(bool(refused))
