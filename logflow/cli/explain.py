"""Say what a configuration does with a tag, a file or a record.

  logflow explain -c FILE --tag kube.shop.web                       which route, and why not those above
  logflow explain -c FILE --file /var/log/containers/a_b_c-0.log    which source reads it, and its tag
  logflow explain -c FILE --tag app --record '{"level": "debug"}'   what each filter does with it

Outputs and sources are shown with every value in effect and where it came from: file and line, default or
environment; secrets are masked. Nothing is opened.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from logflow.cli.configuration import add_config_option, load_config
from logflow.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_option(parser)
    parser.add_argument("--tag", help="tag of the events")
    parser.add_argument("--file", metavar="PATH", help="a file that a source may read")
    parser.add_argument("--record", metavar="JSON", help="a record, or - for a line from stdin")


def run(args: argparse.Namespace) -> int:
    """Explain; 1 if no source reads the file."""
    from logflow.rehearsal.explanation import Explanation

    if args.tag is None and args.file is None:
        raise ConfigError(["logflow explain: explain what? Give --tag T or --file PATH"])
    record = _record(args.record)
    explanation = Explanation(load_config(args), time.time_ns())
    tags = [args.tag] if args.tag is not None else []
    if args.file is not None:
        for source, tag in explanation.tags_of(args.file).items():
            print(*explanation.of_source(source), sep="\n")
            print(f"  → tag {tag}\n")
            tags.append(tag)
        if not tags:
            print(f"no source reads {args.file}")
            return 1
    for tag in dict.fromkeys(tags):
        print(f"tag {tag}")
        print(*explanation.of_tag(tag, record), sep="\n")
    return 0


def _record(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        record = json.loads(input() if text == "-" else text)
    except (ValueError, EOFError) as error:
        raise ConfigError([f"logflow explain: the record is not JSON: {error}"]) from None
    if not isinstance(record, dict):
        raise ConfigError(['logflow explain: a record is a JSON object, such as {"message": "hello"}'])
    return record
