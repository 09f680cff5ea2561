"""Try an expression on records from stdin, one JSON object a line.

  logflow eval 'status >= 500 and not path.startswith("/health")' < records.jsonl

For each record the value is printed as JSON. With --where, the records for which the expression is true are
printed instead. What is not a JSON object is named on stderr, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys

from logflow.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("expression", metavar="EXPR", help="the expression")
    parser.add_argument("--tag", default="", help="what the expression sees as the tag")
    parser.add_argument("--where", action="store_true", help="print the records for which it is true")
    parser.add_argument("--engine", choices=("auto", "native", "python"), default="auto")


def run(args: argparse.Namespace) -> int:
    """Evaluate; 1 if a line was not a JSON object, 2 if the expression cannot be used."""
    import time

    import msgpack
    import msgspec

    from logflow.engine import load_engine
    from logflow.expressions import ExpressionError, compile_expression
    from logflow.packing import pack_entry

    try:
        expression = compile_expression(args.expression)
    except ExpressionError as error:
        raise ConfigError([f"logflow eval: {error}"]) from None
    engine = load_engine(args.engine)
    computation, condition = engine.computation(expression), engine.condition(expression)
    decode, encode = msgspec.json.Decoder(dict).decode, msgspec.json.encode
    status = 0
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            now_ns = time.time_ns()
            entry = pack_entry(now_ns, decode(line))
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            print(f"line {number} is not a JSON object: {error}", file=sys.stderr)
            status = 1
            continue
        if not args.where:
            [value] = computation.values(entry, args.tag, None, now_ns)
            sys.stdout.write(encode(msgpack.unpackb(value, strict_map_key=False)).decode() + "\n")
        elif condition.split(entry, args.tag, None, now_ns)[1]:
            sys.stdout.write(line.decode().rstrip("\n") + "\n")
    return status
