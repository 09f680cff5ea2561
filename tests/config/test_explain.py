"""Every mistake is one line: file:line, path, what is wrong, and a hint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from logflow import registry
from logflow.config.explain import did_you_mean
from logflow.config.loader import Loaded
from logflow.config.options import OutputConfig

Problems = Callable[..., list[str]]
FIRST = f"{{type: {registry.names('output')[0]}}}"


def out(line: str) -> str:
    """A configuration whose output has one more line, the third."""
    return f"outputs:\n  out: {{type: sink,\n    {line}}}\n"


def block(line: str) -> str:
    """The same without braces around it, where ``${...}`` needs no quotes."""
    return f"outputs:\n  out:\n    {line}\n    type: sink\n"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("servers: [{addres: 'a:1'}]", "servers[0].addres: unknown key; did you mean 'address'?"),
        ("zzz: 1", "zzz: unknown key; known keys: buffer, compress, concurrency, dead_letter, "),
        ("servers: [{weight: 1}]", "servers[0].address: missing; add the key 'address' (Where it listens)"),
        ("servers: {address: 'a:1'}", "servers: expected a list, not a mapping"),
        ("servers: 'a:1'", "servers: expected a list, not 'a:1'; write ['a:1']"),
        ("servers: ['a:1']", "servers[0]: expected a mapping (key: value), not 'a:1'"),
        (
            "servers: [{address: 24224}]",
            "servers[0].address: 24224 is not an address; write host:port, such as",
        ),
        ("servers: [{address: 'a:1', weight: x}]", "servers[0].weight: expected a whole number, not 'x'"),
        ("servers: [{address: 'a:1', weight: 1.5}]", "servers[0].weight: expected a whole number, not '1.5'"),
        ("servers: [{address: 'a:1', weight: -1}]", "servers[0].weight: must be at least 0, not '-1'"),
        ("servers: [{address: 'a:1', weight: 5000}]", "servers[0].weight: must be at most 1000, not '5000'"),
        ("compress: gzp", "compress: 'gzp' is not one of none, gzip, zstd; did you mean 'gzip'?"),
        ("compress: 7", "compress: '7' is not one of none, gzip, zstd"),
        ("ratio: high", "ratio: expected a number, not 'high'"),
        ("ratio: 0", "ratio: must be more than 0.0, not '0'"),
        ("dead_letter: yes", "dead_letter: expected true or false, not 'yes'; write true"),
        ("dead_letter: Off", "dead_letter: expected true or false, not 'Off'; write false"),
        ("dead_letter: 1", "dead_letter: expected true or false, not '1'; write true"),
        ("tls: on", "tls: expected true or false, not 'on'; write true"),
        ("buffer: {limit: 10, chunk_limit: 100MiB}", "buffer: chunk_limit (104857600 bytes) is above limit"),
        (
            "buffer: {limit: 10}",
            "buffer: limit is 10 bytes, which hold hardly an event; write a unit, such as 10MiB",
        ),
        ("buffer: {type: disk, limit: 64}", "buffer: limit is 64 bytes, which hold hardly an event"),
        ("buffer: {chunk_limit: 8}", "buffer: chunk_limit is 8 bytes, which hold hardly an event"),
        ("buffer: {chunk_limit: 65MiB}", "buffer: chunk_limit (68157440 bytes) is above limit (67108864"),
        ("shared_key: ''", "shared_key: the secret is empty and would protect nothing"),
        ("dead_letter: perhaps", "dead_letter: expected true or false, not 'perhaps'"),
        (
            "buffer: {limit: 5 parsecs}",
            "buffer.limit: '5 parsecs' is not a size; write a number and a unit, such as",
        ),
        ("retry: {max: 10}, retri: 1", "retri: unknown key; did you mean 'retry'?"),
        (
            "retry: {initial: soon}",
            "retry.initial: 'soon' is not a duration; write a number and a unit, such as 5s",
        ),
        ("retry: [1s]", "retry: expected a mapping (key: value), not a list"),
        ("note: [a]", "note: expected text, not a list"),
        ("note: ~", "note: expected text, not nothing"),
        ("note: two words", "note: 'two' is followed by a blank; write one word"),
        ("headers: {'x.y z': [1]}", 'headers["x.y z"]: expected text, not a list'),
        ("tls: maybe", "tls: expected true or false or a mapping (key: value), not 'maybe'"),
        ("tls: {ca_fil: x}", "tls.ca_fil: unknown key; did you mean 'ca_file'?"),
        ("tls: {}", "tls.ca_file: missing; add the key 'ca_file' (Whom to trust)"),
        ("labels: {a: b}", "labels: expected text or a list, not a mapping"),
        ("labels: [a, [b]]", "labels[1]: expected text, not a list"),
    ],
)
def test_a_value_that_cannot_be_used(problems_of: Problems, line: str, problem: str) -> None:
    assert problems_of(out(line))[0].startswith(f"agent.yaml:3: outputs.out.{problem}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "{type: snk}",
            "agent.yaml:2: outputs.out.type: there is no output of type 'snk'; did you mean 'sink'?",
        ),
        ("{type: [sink]}", "agent.yaml:2: outputs.out.type: the type of an output is text, not a list"),
        ("{}", "agent.yaml:2: outputs.out: missing; add the key 'type', which says what output it is"),
        (
            "sink",
            f"agent.yaml:2: outputs.out: an output is a mapping with a type, such as {FIRST}, not 'sink'",
        ),
    ],
)
def test_a_component_that_is_none(problems_of: Problems, text: str, problem: str) -> None:
    (line,) = problems_of(f"outputs:\n  out: {text}\n")
    assert line.startswith(problem)


def test_a_mistyped_type_that_came_from_outside_is_not_shown(problems_of: Problems) -> None:
    (problem,) = problems_of("outputs:\n  out:\n    type: ${SECRET}\n", SECRET="hunter2")
    assert problem.startswith(
        "agent.yaml:3: outputs.out.type: there is no output of type '${SECRET}'; known types: "
    )


def test_a_mistyped_key_that_is_required_is_one_mistake(problems_of: Problems) -> None:
    (problem,) = problems_of(out("servers: [{addres: 'a:1'}]"))
    assert problem.endswith("servers[0].addres: unknown key; did you mean 'address'?")


def test_problems_of_components_within_components_have_their_own_lines(problems_of: Problems) -> None:
    text = "sources:\n  app:\n    type: feed\n    parse:\n      type: jsn\n    max_line: 1 mile\n"
    assert problems_of(text + "outputs: {out: {type: sink}}") == [
        "agent.yaml:5: sources.app.parse.type: there is no parser of type 'jsn'; did you mean 'json'?",
        "agent.yaml:6: sources.app.max_line: '1 mile' is not a size; write a number and a unit, such as 8MiB",
    ]


def test_names_are_bounded_in_what_they_may_hold(problems_of: Problems) -> None:
    (line,) = problems_of("outputs:\n  out: {type: sink}\n  ../etc: {type: sink}\n")
    assert (
        line == """agent.yaml:3: outputs["../etc"]: a name has only letters, digits, '_' and '-'; rename it"""
    )


def test_the_top_level_is_explained_too(problems_of: Problems) -> None:
    where = "(Where events go, top to bottom; the first match wins)"
    assert problems_of("memory_limit: 0\nengine: rust\nlog: {levl: info}\nsorces: []\n", whole=True) == [
        "agent.yaml:1: memory_limit: must be at least 16777216, not '0'",
        f"agent.yaml:1: routes: missing; add the key 'routes' {where}",
        "agent.yaml:2: engine: 'rust' is not one of auto, native, python",
        "agent.yaml:3: log.levl: unknown key; did you mean 'level'?",
        "agent.yaml:4: sorces: unknown key; did you mean 'sources'?",
        "agent.yaml:4: sources: expected a mapping (key: value), not a list",
    ]


def test_text_is_taken_as_it_was_written_where_text_is_expected(load_text: Callable[..., Loaded]) -> None:
    """``1.20`` is a version and ``007`` a key there, not numbers; a number stays one elsewhere."""
    loaded = load_text(out("note: 1.20, headers: {a: 007, b: true}, labels: [1, x], ratio: 2"))
    config = loaded.settings.outputs["out"]
    assert config.model_dump(include={"note", "headers", "labels", "ratio"}) == {
        "note": "1.20", "headers": {"a": "007", "b": "true"}, "labels": ["1", "x"], "ratio": 2.0,
    }  # fmt: skip


def test_null_is_a_type_of_output_without_quotes(
    problems_of: Problems, load_text: Callable[..., Loaded]
) -> None:
    loaded = load_text("outputs: {out: {type: null}}")
    assert loaded.settings.outputs["out"].type == "null"
    assert (
        "outputs.out.type: the type of an output is text, not nothing"
        in problems_of("outputs: {out: {type: }}")[0]
    )


@pytest.mark.parametrize(
    "line",
    [
        "note: '${SECRET}'",
        "note: 'x ${SECRET}'",
        "note: ${file:secret}",
        "buffer: {limit: '${SECRET}'}",
        "servers: [{address: '${SECRET}'}]",
        "servers: ['${SECRET}']",
        "compress: ${SECRET}",
        "tls: ${SECRET}",
        "ratio: ${SECRET}",
        "shared_key: ['${SECRET}']",
        "headers: {a: ['${SECRET}']}",
        "zzz: ${SECRET}",
    ],
)
def test_what_came_from_outside_is_never_shown(problems_of: Problems, line: str) -> None:
    Path("secret").write_text("hunter2 swordfish\n")
    (problem, *_) = problems_of(
        f"outputs:\n  out: {{\n    {line},\n    type: sink}}\n", SECRET="hunter2 swordfish"
    )
    assert "hunter" not in problem
    assert "swordfish" not in problem


def test_a_short_value_from_outside_is_not_shown_either(problems_of: Problems) -> None:
    (problem,) = problems_of(out("note: 'a ${PIN}'"), PIN="9")
    assert problem == "agent.yaml:3: outputs.out.note: 'a' is followed by a blank; write one word"
    (problem,) = problems_of(out("note: '${PIN} a'"), PIN="9")
    assert problem == "agent.yaml:3: outputs.out.note: the value of '${PIN} a' cannot be used here"


def test_a_value_from_outside_is_named_by_its_expression(problems_of: Problems) -> None:
    (problem,) = problems_of(out("buffer: {limit: '${LIMIT}'}"), LIMIT="lots")
    assert "buffer.limit: '${LIMIT}' is not a size" in problem


def test_secrets_are_not_in_the_repr_of_settings(load_text: Callable[..., Loaded]) -> None:
    loaded = load_text(block("shared_key: ${KEY}"), KEY="12345")
    assert "12345" not in repr(loaded)
    assert "SecretStr" in repr(loaded)


def test_a_long_value_is_cut(problems_of: Problems) -> None:
    (problem,) = problems_of(out(f"buffer: {{limit: {'x' * 10_000}}}"))
    assert len(problem) < 500


def test_did_you_mean_names_the_closest_word_or_all() -> None:
    assert did_you_mean("adress", ["address", "weight"]) == "did you mean 'address'?"
    assert did_you_mean("Weight", ["address", "weight"]) == "did you mean 'weight'?"
    assert did_you_mean("x", ["b", "a"]) == "known keys: a, b"
    assert did_you_mean("x", [], what="outputs") == "there are no outputs"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("auth: 'u:hunter2'", "auth: expected a mapping (key: value), not text (not shown here)"),
        ("users: 'u:hunter2'", "users: expected a list, not text (not shown here)"),
        ("users: ['u:hunter2']", "users[0]: expected a mapping (key: value), not text (not shown here)"),
        (
            "headers: 'Authorization: hunter2'",
            "headers: expected a mapping (key: value), not text (not shown",
        ),
    ],
)
def test_a_secret_that_stands_where_a_mapping_is_wanted_is_not_shown(
    problems_of: Problems, line: str, problem: str
) -> None:
    kind = "source" if "users" in line else "output"
    text = {
        "output": f"outputs: {{out: {{type: http, endpoints: ['http://a/'], {line}}}}}\n",
        "source": f"sources: {{peers: {{type: forward, {line}}}}}\noutputs: {{out: {{type: sink}}}}\n",
    }[kind]
    (found,) = problems_of(text)
    assert "hunter2" not in found
    assert problem in found


@pytest.mark.parametrize("word", ["true", "false", "'true'", '"${FLAG}"', "${FLAG}"])
def test_what_is_a_boolean(load_text: Callable[..., Loaded], word: str) -> None:
    settings = load_text(block(f"dead_letter: {word}"), FLAG="true").settings
    output = settings.outputs["out"]
    assert isinstance(output, OutputConfig)
    assert output.dead_letter is (word != "false")


@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_secret_opens_no_door(problems_of: Problems, content: str) -> None:
    """Neither in a file, nor in a variable, nor as text; anywhere."""
    Path("key").write_text(content)
    for value in ("${file:key}", "'${file:key}'", "${EMPTY}", "'${EMPTY}'", "${EMPTY:-}", "''", "' '"):
        forward = f"type: forward\n    shared_key: {value}"
        http = f"type: http\n    listen: '127.0.0.1:1'\n    auth:\n      bearer: {value}"
        for source in (forward, http):
            text = f"sources:\n  peers:\n    {source}\noutputs: {{out: {{type: sink}}}}\n"
            (problem,) = problems_of(text, EMPTY="")
            assert "empty" in problem
