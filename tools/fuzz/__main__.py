"""Feed targets: ``python -m tools.fuzz --seconds 60 --targets otlp,journal``; all of them unless told."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

_SEEDS = Path(__file__).parent / "seeds"
_INPUT_BYTES = 16 << 10
_INPUT_S = 10
_MEMORY_MB = 2048


def build_parser() -> argparse.ArgumentParser:
    """Declare the options."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long each target is fed (default 60)")
    parser.add_argument("--targets", help="comma-separated; all unless given")
    parser.add_argument("--only", metavar="TARGET", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run it; 0 if nothing was found."""
    options = build_parser().parse_args(argv)
    if options.only:
        return _feed(options.only, options.arguments)
    names = options.targets.split(",") if options.targets else _names()
    found = [name for name in names if _run(name, options.seconds)]
    print(f"Found something: {', '.join(found)}." if found else "Nothing was found.")
    return 1 if found else 0


def _names() -> list[str]:
    from tools.fuzz.targets import TARGETS  # noqa: PLC0415 - where they are fed, they are instrumented first

    return list(TARGETS)


def _run(name: str, seconds: int) -> int:
    """Feed one target in a process of its own, as a fault may end that."""
    print(f"== {name}, {seconds} s", flush=True)
    command = [sys.executable, "-m", "tools.fuzz", "--only", name, "--", f"-max_total_time={seconds}"]
    return subprocess.run(command, check=False).returncode


def _feed(name: str, arguments: list[str]) -> int:
    import atheris  # noqa: PLC0415 - `make fuzz` installs it

    with atheris.instrument_imports(include=["logflow", "tools.fuzz"]):
        from tools.fuzz.targets import TARGETS  # noqa: PLC0415
    target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="logflow-fuzz-") as directory:
        for number, seed in enumerate(target.seeds):
            Path(directory, f"seed{number}").write_bytes(seed)
        corpora = [directory, *([str(_SEEDS / name)] if (_SEEDS / name).is_dir() else [])]
        limits = [f"-max_len={_INPUT_BYTES}", f"-timeout={_INPUT_S}", f"-rss_limit_mb={_MEMORY_MB}"]
        atheris.Setup(
            [sys.argv[0], *limits, "-print_final_stats=1", "-verbosity=1", *arguments, *corpora], target.feed
        )
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
