"""Ask an archive: SQL over what the outputs file and s3 have written.

  logflow query "SELECT level, count(*) FROM logs GROUP BY level" /var/log/archive
  logflow query "SELECT * FROM logs WHERE status >= 500 LIMIT 10" -c aggregator.yaml

The table is called logs. Its columns are the fields, with "@timestamp" and "@tag" (in double quotes). JSON
Lines, plain or compressed with gzip or zstd, and Parquet are read alike. A PATH is a file, a directory, a
glob or s3://BUCKET/PREFIX; without any, those of the outputs in the configuration are asked. Of a directory
only files are read whose names end like those of logs: .jsonl, .ndjson, .log and .parquet, with .gz and .zst
behind it. Needs the extra "query", and "s3" for buckets, whose objects are fetched first.
"""

from __future__ import annotations

import argparse
import glob
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logflow import extras
from logflow.cli.configuration import add_config_option, load_settings
from logflow.cli.tables import ask
from logflow.errors import ComponentError, counted

if TYPE_CHECKING:
    from logflow.config.models import Settings

_ROWS = 1000
_COMPRESSED = (".gz", ".zst")
_LOGS = (".jsonl", ".ndjson", ".log", ".parquet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("sql", help='such as "SELECT count(*) FROM logs"')
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="files, directories, globs, s3://BUCKET/PREFIX"
    )
    add_config_option(parser, required=False)
    parser.add_argument("--output", metavar="NAME", help="only what this output wrote")
    parser.add_argument("--format", choices=("table", "jsonl", "csv"), default="table", help="of the answer")


def run(args: argparse.Namespace) -> int:
    """Ask."""
    duckdb = extras.load("duckdb", "query", "logflow query")
    if not args.paths and not args.config:
        print("logflow query: name a PATH, or a configuration with -c FILE", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="logflow-query-") as directory:
        settings = load_settings(args) if args.config else None
        files = [*_files(args.paths, Path(directory))]
        if settings is not None and not args.paths:
            files = [*_of_outputs(settings, args.output, Path(directory))]
        if not files:
            raise ComponentError("there are no files to query; check the PATH")
        answer = ask(duckdb, args.sql, files, Path(directory))
        _print(answer, args.format)
    return 0


def _files(paths: Iterable[str], directory: Path) -> Iterator[Path]:
    for path in paths:
        if path.startswith("s3://"):
            bucket, _, prefix = path.removeprefix("s3://").partition("/")
            yield from _fetched({"bucket": bucket}, prefix, directory)
        elif Path(path).is_dir():
            yield from _below(Path(path))
        else:
            named = map(Path, glob.glob(path, recursive=True))  # noqa: PTH207 - absolute ones too
            yield from sorted(each for each in named if each.is_file())


def _below(directory: Path, own: str | None = None) -> list[Path]:
    """Files of a directory that look like logs, or end in ``own``; the others are named in one line."""
    there = sorted(path for path in directory.rglob("[!.]*") if path.is_file())  # hidden ones are not whole
    logs = [path for path in there if _suffix(path.name) in {*_LOGS, own}]
    if left := len(there) - len(logs):
        example = next(path for path in there if path not in logs)
        print(
            f"logflow query: {counted(left, 'file')} in {directory} left out, such as {example.name}: what "
            f"ends in none of {', '.join(_LOGS)} is read if it is named itself", file=sys.stderr,
        )  # fmt: skip
    return logs


def _suffix(name: str) -> str:
    """How a name ends, without what stands for a compression."""
    path = Path(name)
    return Path(path.stem).suffix if path.suffix in _COMPRESSED else path.suffix


def _of_outputs(settings: Settings, wanted: str | None, directory: Path) -> Iterator[Path]:
    """What the outputs of a configuration wrote."""
    if wanted is not None and wanted not in settings.outputs:
        raise ComponentError(f"there is no output called {wanted}")
    for name, config in settings.outputs.items():
        if wanted not in (None, name):
            continue
        if config.type == "file":
            from logflow.templates import PathTemplate

            path: str = config.path  # type: ignore[attr-defined]
            yield from _below(PathTemplate(path).root, _suffix(path))
        elif config.type == "s3":
            from logflow.outputs.s3.store import store_options

            prefix = config.key.partition("{")[0].partition("%")[0]  # type: ignore[attr-defined]
            yield from _fetched(store_options(config), prefix.rpartition("/")[0], directory)  # type: ignore[arg-type]


def _fetched(options: dict[str, Any], prefix: str, directory: Path) -> Iterator[Path]:
    """Fetch objects into a directory."""
    obstore = extras.load("obstore", "s3", "logflow query")
    store = extras.load("obstore.store", "s3", "logflow query").S3Store(options.pop("bucket"), **options)
    errors = extras.load("obstore.exceptions", "s3", "logflow query")
    try:
        objects = chain.from_iterable(obstore.list(store, prefix or None))
        for number, found in enumerate(objects):
            path = directory / f"object-{number}"
            with path.open("wb") as file:
                for piece in obstore.get(store, found["path"]):
                    file.write(piece)
            yield path
    except (errors.BaseError, OSError) as error:
        raise ComponentError(f"cannot read the bucket: {' '.join(str(error).split())[:300]}") from error


def _print(answer: Any, how: str) -> None:
    if how == "table":
        names = [column[0] for column in answer.description]
        rows = [[_text(value) for value in row] for row in answer.fetchall()]
        widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
        for row in [names, ["-" * width for width in widths], *rows]:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    names = [column[0] for column in answer.description]
    if how == "csv":
        import csv

        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
    while rows := answer.fetchmany(_ROWS):
        if how == "csv":
            writer.writerows([_text(value) for value in row] for row in rows)
        else:
            import msgspec

            for row in rows:
                print(msgspec.json.encode(dict(zip(names, row, strict=True)), enc_hook=str).decode())


def _text(value: object) -> str:
    """A cell: one line, and nothing that tells a terminal to do things."""
    from logflow.encoders import visible

    return "" if value is None else visible(str(value).replace("\n", "\\n"))
