"""From pydantic's errors to lines that help.

pydantic says where (a path that may contain names of union members) and what (an error type).
Here each becomes one :class:`Problem` with the line in the file, the path as users know it, and a
hint. Problems inside components come as one error of type ``component`` and are unfolded.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from logflow.config.tree import KeyPath, Mapping, Node, Problem, Scalar, child, scalars, show

_TEXT_EXPECTED = {"component_type", "string_type", "path_type", "pattern_type"}
"""Errors that may go away when a scalar is taken as it was written."""

_MESSAGE_CHARACTERS = 400
_TELLING_CHARACTERS = 4
"""A shorter value would be found in harmless text too, and is hidden only where it was used."""

_LISTED_KEYS = 15

_NOUNS = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping (key: value)",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "mapping_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "none_required": "null",
    "path_type": "text",
    "set_type": "a list",
    "string_type": "text",
    "tuple_type": "a list",
}
"""What was expected, by pydantic's error type."""

_Union: TypeAlias = tuple[KeyPath, str]
Context: TypeAlias = dict[str, Any]

_BOUNDS: dict[str, Callable[[Context], str]] = {
    "greater_than": lambda c: f"must be more than {c['gt']}",
    "greater_than_equal": lambda c: f"must be at least {c['ge']}",
    "less_than": lambda c: f"must be less than {c['lt']}",
    "less_than_equal": lambda c: f"must be at most {c['le']}",
    "too_short": lambda c: f"must have at least {_items(c['min_length'])}",
    "too_long": lambda c: f"must have at most {_items(c['max_length'])}",
    "string_too_short": lambda c: f"must be at least {c['min_length']} characters long",
    "string_too_long": lambda c: f"must be at most {c['max_length']} characters long",
    "finite_number": lambda _: "must be a finite number",
}


def _items(count: int) -> str:
    return "one item" if count == 1 else f"{count} items"


@dataclass(frozen=True)
class _Mistake:
    """One of pydantic's errors, placed in the tree.

    Attributes:
        path: keys and indices that exist in the tree, and a missing key at the end.
        node: the innermost value that exists.
        kind: pydantic's error type.
        message: pydantic's wording.
        context: what pydantic adds.
        models: the models whose keys are allowed where the error is.
        union: where the path runs through a union: the path to it and the member's name.
    """

    path: KeyPath
    node: Node
    kind: str
    message: str
    context: Context
    models: list[type[BaseModel]]
    union: _Union | None


def did_you_mean(wrong: str, known: Iterable[str], *, what: str = "") -> str:
    """Suggest the closest known word; list all of them when none is close."""
    words = sorted(set(known))
    if close := _closest(wrong, words):
        return f"did you mean {close!r}?"
    if not words:
        return f"there are no {what}" if what else "remove it"
    listed = ", ".join(words[:_LISTED_KEYS]) + (", …" if len(words) > _LISTED_KEYS else "")
    return f"known {what or 'keys'}: {listed}"


def _closest(wrong: str, known: Iterable[str]) -> str | None:
    folded = {word.lower(): word for word in known}
    close = difflib.get_close_matches(wrong.lower(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def explain(
    error: ValidationError, root: Node, model: type[BaseModel], secrets: dict[str, str]
) -> list[Problem]:
    """Say what is wrong, one problem for each mistake.

    Args:
        error: what pydantic found.
        root: the tree whose data was validated.
        model: the model that it was validated by.
        secrets: values that must not be shown, with what is shown in their place.
    """
    mistakes = [
        mistake
        for mistake in _mistakes(error.errors(include_url=False), root, model)
        if not (isinstance(mistake.node, Scalar) and mistake.node.broken)
    ]
    return [_problem(group, secrets) for group in _by_union(_without_echoes(mistakes))]


def _problem(group: list[_Mistake], secrets: dict[str, str]) -> Problem:
    first = group[0]
    text = _describe(first, secrets) if len(group) == 1 else _describe_choice(group, secrets)
    about_type = first.kind in {"unknown_component", "component_type"} and child(first.node, "type")
    if about_type:
        return Problem(about_type.place, (*first.path, "type"), text)
    return Problem(first.node.place, first.path, text)


def scalars_meant_as_text(error: ValidationError, root: Node, model: type[BaseModel]) -> set[int]:
    """Find the scalars (by ``id``) that YAML made something else where text is expected.

    Numbers and booleans, and ``null`` as a component's type: there is an output of that name.
    """
    found: set[int] = set()
    for mistake in _mistakes(error.errors(include_url=False), root, model):
        node = child(mistake.node, "type") if mistake.kind == "component_type" else mistake.node
        if not isinstance(node, Scalar) or mistake.kind not in _TEXT_EXPECTED:
            continue
        if node.value is not None or node.substituted or (mistake.kind == "component_type" and node.text):
            found.add(id(node))
    return found


def _mistakes(
    errors: Iterable[Any],
    root: Node,
    model: type[BaseModel],
    prefix: KeyPath = (),
    union: _Union | None = None,
) -> Iterator[_Mistake]:
    for error in errors:
        mistake = _locate(error, root, model, prefix, union)
        if mistake.kind == "component":
            nested = error["ctx"]
            yield from _mistakes(nested["errors"], mistake.node, nested["model"], mistake.path, mistake.union)
        else:
            yield mistake


def _locate(
    error: Any, root: Node, model: type[BaseModel], prefix: KeyPath, union: _Union | None
) -> _Mistake:
    """Follow an error's path down the tree and the model, leaving out names of union members."""
    node, path, models = root, prefix, [model]
    annotations: list[Any] = [model]
    location = error["loc"]
    for index, part in enumerate(location):
        below = child(node, part)
        last = index == len(location) - 1
        models = [found for annotation in annotations for found in _models(annotation)]
        if below is not None:
            annotations = list(_below(annotations, part))
            node, path = below, (*path, part)
        elif last and error["type"] == "missing":
            path = (*path, part)
        elif part != "[key]":
            union = union or (path, str(part))
            annotations = [a for a in annotations if _name(a) == part] or annotations
    context = error.get("ctx") or {}
    return _Mistake(path, node, error["type"], error["msg"], context, models, union)


def _name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models among the members of a type."""
    if get_origin(annotation) in {Union, UnionType, Annotated}:
        for member in get_args(annotation):
            yield from _models(member)
    elif (
        isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel)
    ):
        yield annotation


def _below(annotations: Iterable[Any], part: str | int) -> Iterator[Any]:
    """Yield the types that one key or index further down may have."""
    for annotation in annotations:
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin in {Union, UnionType}:
            yield from _below(arguments, part)
        elif origin is Annotated:
            yield from _below(arguments[:1], part)
        elif isinstance(annotation, type) and origin is None and issubclass(annotation, BaseModel):
            if part in annotation.model_fields:
                yield annotation.model_fields[str(part)].annotation
        elif origin is not None and arguments:
            yield arguments[-1] if origin is dict else arguments[0]


def _without_echoes(mistakes: list[_Mistake]) -> list[_Mistake]:
    """Leave out the missing key that an unknown one was meant to be: it is one mistake."""
    meant = {
        (*mistake.path[:-1], _closest(str(mistake.path[-1]), _keys(mistake)))
        for mistake in mistakes
        if mistake.kind == "extra_forbidden"
    }
    return [mistake for mistake in mistakes if mistake.kind != "missing" or mistake.path not in meant]


def _keys(mistake: _Mistake) -> list[str]:
    return [name for model in mistake.models for name in model.model_fields]


def _by_union(mistakes: list[_Mistake]) -> Iterator[list[_Mistake]]:
    """Group the errors that stand for one mistake.

    Where a union was expected, each member complains. The members that fit the kind of value count,
    and among them the one with the fewest complaints; if none fits, they are told together.
    """
    members: dict[KeyPath, dict[str, list[_Mistake]]] = defaultdict(lambda: defaultdict(list))
    for mistake in mistakes:
        if mistake.union is None:
            yield [mistake]
        else:
            at, member = mistake.union
            members[at][member].append(mistake)
    for at, complaints in members.items():
        fitting = [
            group for group in complaints.values()
            if not any(mistake.path == at and mistake.kind in _NOUNS for mistake in group)
        ]  # fmt: skip
        if fitting:
            for mistake in min(fitting, key=len):
                yield [mistake]
        else:
            yield [group[0] for group in complaints.values()]


def _describe_choice(group: list[_Mistake], secrets: dict[str, str]) -> str:
    nouns = dict.fromkeys(_NOUNS.get(mistake.kind, "") for mistake in group)
    if "" in nouns:
        return "; or ".join(dict.fromkeys(_describe(mistake, secrets) for mistake in group))
    return f"expected {' or '.join(nouns)}, not {show(group[0].node)}"


def _describe(mistake: _Mistake, secrets: dict[str, str]) -> str:
    """Say what is wrong and what to do."""
    kind, context, node = mistake.kind, mistake.context, mistake.node
    last = mistake.path[-1] if mistake.path else ""
    if kind in _NOUNS:
        hint = f"; write [{show(node)}]" if _NOUNS[kind] == "a list" and isinstance(node, Scalar) else ""
        return f"expected {_NOUNS[kind]}, not {show(node)}{hint}"
    if kind in _BOUNDS:
        return _BOUNDS[kind](context) + (f", not {show(node)}" if isinstance(node, Scalar) else "")
    match kind:
        case "missing":
            return f"missing; add the key {str(last)!r}{_meaning(mistake.models, str(last))}"
        case "extra_forbidden":
            return f"unknown key; {did_you_mean(str(last), _keys(mistake))}"
        case "literal_error" | "enum":
            known = re.findall(r"'([^']*)'", context.get("expected", ""))
            wrong = node.text if isinstance(node, Scalar) else ""
            return f"{show(node)} is not one of {', '.join(known)}{_suggestion(wrong, known)}"
        case "string_pattern_mismatch" if mistake.message and isinstance(node, Scalar):
            return f"{show(node)} does not match the pattern {context['pattern']}"
        case "string_pattern_mismatch":
            return "a name has only letters, digits, '_' and '-'; rename it"
        case "unknown_component":
            return f"there is no {context['kind']} of type {_shown_type(node)}; {_known_types(mistake)}"
        case "component_type" if "kind" in context:
            return _component_shape(node, context)
        case _:
            return _guard(_wording(mistake), node, secrets)


def _meaning(models: list[type[BaseModel]], name: str) -> str:
    for model in models:
        field = model.model_fields.get(name)
        if field and field.description:
            return f" ({field.description.rstrip('.')})"
    return ""


def _suggestion(wrong: str, known: list[str]) -> str:
    close = _closest(wrong, known)
    return f"; did you mean {close!r}?" if close else ""


def _shown_type(node: Node) -> str:
    type_node = child(node, "type")
    return show(type_node) if type_node is not None else "?"


def _known_types(mistake: _Mistake) -> str:
    return did_you_mean(mistake.context["name"], mistake.context["known"], what="types")


def _component_shape(node: Node, context: Context) -> str:
    kind, example = context["kind"], f"{{type: {context['example']}}}"
    if isinstance(node, Mapping) and "type" in node.items:
        return f"the type of {_article(kind)} is text, not {show(node.items['type'])}"
    if isinstance(node, Mapping):
        return f"missing; add the key 'type', which says what {kind} it is, such as {example}"
    return f"{_article(kind)} is a mapping with a type, such as {example}, not {show(node)}"


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _wording(mistake: _Mistake) -> str:
    """Return what a validator of ours said, or pydantic's wording without its formula."""
    raised = mistake.context.get("error")
    text = str(raised) if raised is not None else mistake.message
    text = re.sub(r"^(Value error|Assertion failed), ", "", text)
    return re.sub(r"^(Input|String|Value|List|Dictionary|URL) should", "should", text)


def _guard(text: str, node: Node, secrets: dict[str, str]) -> str:
    """Put ``${...}`` in place of every value that must not be shown, and make it one line.

    A validator may have quoted only a part of the value; then its text is not used at all.
    """
    hidden: set[str] = set()
    for scalar in filter(lambda scalar: scalar.substituted, scalars(node)):
        text = text.replace(repr(scalar.text), repr(scalar.written))
        text = _word(str(scalar.value)).sub(scalar.written.replace("\\", r"\\"), text)
        hidden.update(value for value in secrets if value in scalar.text)
    for value in sorted(secrets, key=len, reverse=True):
        if len(value) >= _TELLING_CHARACTERS:
            text = text.replace(value, secrets[value])
    pieces = {piece for value in hidden for piece in [value, *re.findall(r"\w{3,}", value)]}
    if any(_word(piece).search(text) for piece in pieces):
        return f"what {show(node)} stands for cannot be used here"
    text = " ".join(text.split())
    return text if len(text) <= _MESSAGE_CHARACTERS else f"{text[: _MESSAGE_CHARACTERS - 1]}…"


def _word(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(text)}(?!\w)")
