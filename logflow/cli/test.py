"""Run tests of a configuration: what comes out of the outputs for given lines or records.

TESTS are YAML files next to the configuration, or directories of them:

  tests:
    - name: debug lines are dropped
      source: containers        # reads `input` as it would read the file; format, joins and parser count too
      file: /var/log/containers/web-1_shop_app-0123.log
      input: |
        2026-01-01T00:00:00.1Z stdout F {"level":"debug","msg":"x"}
        2026-01-01T00:00:00.2Z stdout F {"level":"error","msg":"y"}
      expect:
        central: [{level: error, msg: y}]   # in order; fields that are not named do not matter
      dropped: {"filter:grep": 1}
    - name: records by tag
      tag: kube.shop.web
      records: [{a: 1}]
      expect: {archive: [{a: 1}]}
      exact: true               # other fields must not be there
      at: 2026-01-31T12:00:00Z  # where the clock stands

Nothing is opened: no file, no port, no connection. Exit status 1: a test failed. Routes and filters that
no test reached are listed.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

from logflow.cli.configuration import add_config_option, load_settings
from logflow.errors import ConfigError, counted

if TYPE_CHECKING:
    from logflow.config.models import Settings
    from logflow.rehearsal.cases import Case, Placed
    from logflow.rehearsal.rehearsal import NamedStep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_option(parser)
    parser.add_argument("tests", nargs="*", type=Path, metavar="TESTS", help="files of tests, or directories")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write the results as JUnit XML, for CI")


def run(args: argparse.Namespace) -> int:
    """Run the tests; 1 if one failed."""
    from logflow.rehearsal.cases import load_cases

    tests = _tell_apart(args)
    settings = load_settings(args, quiet=True)
    placed = load_cases(tests, settings)
    reached: set[NamedStep] = set()
    results = [(each, _run(each.case, settings, reached)) for each in placed]
    for each, lines in results:
        print(f"{'FAILED' if lines else 'ok':<7} {each.place}  {each.case.name}")
        for line in lines:
            print(f"          {line}")
    failed = sum(bool(lines) for _, lines in results)
    print(f"\n{counted(len(results), 'test')}, {failed} failed")
    for line in _unreached(settings, reached):
        print(line)
    if args.junit:
        args.junit.write_bytes(_junit(results))
    return 1 if failed else 0


def _tell_apart(args: argparse.Namespace) -> list[Path]:
    """Take the files of tests out of ``-c FILE...``, which takes all names that follow it."""
    tests = [*args.tests, *filter(_holds_tests, args.config)]
    args.config = [path for path in args.config if path not in tests]
    if not tests:
        raise ConfigError(["logflow test: which tests? Give files that have the key 'tests', or directories"])
    if not args.config:
        raise ConfigError(["logflow test: there is no configuration, only tests; give -c FILE"])
    return tests


def _holds_tests(path: Path) -> bool:
    if path.is_dir():
        return any(map(_holds_tests, [*path.glob("*.yaml"), *path.glob("*.yml")]))
    return path.is_file() and re.search(rb"^tests:", path.read_bytes(), re.MULTILINE) is not None


def _run(case: Case, settings: Settings, reached: set[NamedStep]) -> list[str]:
    """Run one test; returns what is not as expected."""
    from logflow.batch import Batch
    from logflow.errors import LogflowError
    from logflow.rehearsal.compare import differences
    from logflow.rehearsal.rehearsal import LoggedProblems, Rehearsal

    async def rehearse() -> list[str]:
        rehearsal = Rehearsal(settings, case.time_ns)
        if case.source is not None:
            await rehearsal.read(case.source, (case.input or "").encode(), case.file)
        else:
            events = [(case.time_ns, record) for record in case.records or ()]
            await rehearsal.emit(Batch.from_events(case.tag or "", events))
        outcome = await rehearsal.finish()
        reached.update(outcome.reached)
        return differences(case, outcome)

    with LoggedProblems() as complaints:
        try:
            found = asyncio.run(rehearse())
        except LogflowError as error:
            return [str(error)]
    return [*found, *(f"logged: {line}" for line in complaints)] if found else []


def _unreached(settings: Settings, reached: set[NamedStep]) -> list[str]:
    """Say which routes and filters no test reached."""
    from logflow.rehearsal.rehearsal import Rehearsal

    places = Rehearsal(settings, 0).places()
    missing = [place for place in places if place not in reached]
    lines = [f"{len(places) - len(missing)} of {len(places)} routes and filters were reached"]
    return [*lines, *(f"  not reached: {place.path} ({place.text})" for place in missing)]


def _junit(results: list[tuple[Placed, list[str]]]) -> bytes:
    """Write results in the form that CI systems read."""
    from xml.etree import ElementTree as ET

    failures = sum(bool(lines) for _, lines in results)
    suite = ET.Element("testsuite", name="logflow test", tests=str(len(results)), failures=str(failures))
    for (place, case), lines in results:
        element = ET.SubElement(suite, "testcase", classname=place.file, name=case.name)
        element.set("line", str(place.line))
        if lines:
            failure = ET.SubElement(element, "failure", message=_clean(lines[0]))
            failure.text = _clean("\n".join(lines))
    text: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return text


def _clean(text: str) -> str:
    """Leave out what XML cannot hold."""
    return "".join(each if each >= " " or each in "\n\t" else "�" for each in text)
