"""Where pydantic's errors stand in the tree, and which of them are one and the same mistake.

pydantic gives each error a path of keys, indices and names of union members, and those inside of a
component come as one error of type ``component``. Here they are unfolded, put at the values that
they are about, and grouped: each group is one mistake of the user.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from logflow.config.secrets import Secret
from logflow.config.tree import KeyPath, Node, Scalar, child

Context: TypeAlias = dict[str, Any]
_Union: TypeAlias = tuple[KeyPath, str]

NAME_MISMATCH = "name_mismatch"
"""The error type of a key that is not a name; pydantic has none of its own."""

WRONG_KIND = {
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
"""Errors about the kind of a value: what was expected, by pydantic's error type."""

_TEXT_EXPECTED = {"component_type", "string_type", "path_type", "pattern_type"}
"""Errors that may go away when a scalar is taken as it was written."""


@dataclass(frozen=True)
class Mistake:
    """One of pydantic's errors, placed in the tree.

    Attributes:
        path: keys and indices that exist in the tree, and a missing key at the end.
        node: the innermost value that exists.
        kind: pydantic's error type.
        message: pydantic's wording.
        context: what pydantic adds.
        models: the models whose keys are allowed where the error is.
        secret: whether what belongs here is or holds a secret, so that the value must not be shown.
        union: where the path runs through a union: the path to it and the member's name.
    """

    path: KeyPath
    node: Node
    kind: str
    message: str
    context: Context
    models: list[type[BaseModel]]
    secret: bool
    union: _Union | None

    @property
    def keys(self) -> list[str]:
        """The keys that may stand where the error is."""
        return [field.alias or name for model in self.models for name, field in model.model_fields.items()]


def find_mistakes(error: ValidationError, root: Node, model: type[BaseModel]) -> list[Mistake]:
    """Place every error of ``error``, those inside of components too.

    Args:
        error: what pydantic found.
        root: the tree whose data was validated.
        model: the model that it was validated by.
    """
    return list(_unfolded(error.errors(include_url=False), root, model))


def _unfolded(
    errors: Iterable[Any],
    root: Node,
    model: type[BaseModel],
    prefix: KeyPath = (),
    union: _Union | None = None,
) -> Iterator[Mistake]:
    for error in errors:
        mistake = _locate(error, root, model, prefix, union)
        if mistake.kind == "component":
            nested = error["ctx"]
            yield from _unfolded(nested["errors"], mistake.node, nested["model"], mistake.path, mistake.union)
        else:
            yield mistake


def _locate(error: Any, root: Node, model: type[BaseModel], prefix: KeyPath, union: _Union | None) -> Mistake:
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
    secret = any(holds_secret(annotation) for annotation in annotations)
    kind = error["type"]
    if kind == "string_pattern_mismatch" and location[-1] == "[key]":
        kind = NAME_MISMATCH
    return Mistake(path, node, kind, error["msg"], error.get("ctx") or {}, models, secret, union)


def holds_secret(annotation: Any) -> bool:
    """Whether a value of this type is a secret, or may hold one."""
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        return any(holds_secret(field.annotation) for field in annotation.model_fields.values())
    return annotation in {SecretStr, Secret} or any(holds_secret(member) for member in get_args(annotation))


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


def scalars_meant_as_text(mistakes: Iterable[Mistake]) -> set[int]:
    """Find the scalars (by ``id``) that YAML made something else where text is expected.

    Numbers and booleans, and ``null`` as a component's type: there is an output of that name.
    """
    found: set[int] = set()
    for mistake in mistakes:
        node = child(mistake.node, "type") if mistake.kind == "component_type" else mistake.node
        if not isinstance(node, Scalar) or mistake.kind not in _TEXT_EXPECTED:
            continue
        if node.value is not None or node.substituted or (mistake.kind == "component_type" and node.text):
            found.add(id(node))
    return found


def grouped(mistakes: Iterable[Mistake]) -> Iterator[list[Mistake]]:
    """Put together what is one mistake of the user; leave out what was reported already."""
    return _by_union(_without_echoes([mistake for mistake in mistakes if not _is_broken(mistake.node)]))


def _is_broken(node: Node) -> bool:
    return isinstance(node, Scalar) and node.broken


def _without_echoes(mistakes: list[Mistake]) -> list[Mistake]:
    """Leave out the missing key that an unknown one was meant to be: it is one mistake."""
    meant = {
        (*mistake.path[:-1], closest(str(mistake.path[-1]), mistake.keys))
        for mistake in mistakes
        if mistake.kind == "extra_forbidden"
    }
    return [mistake for mistake in mistakes if mistake.kind != "missing" or mistake.path not in meant]


def _by_union(mistakes: list[Mistake]) -> Iterator[list[Mistake]]:
    """Group the errors that stand for one mistake.

    Where a union was expected, each member complains. The members that fit the kind of value count,
    and among them the one with the fewest complaints; if none fits, they are told together.
    """
    members: dict[KeyPath, dict[str, list[Mistake]]] = defaultdict(lambda: defaultdict(list))
    for mistake in mistakes:
        if mistake.union is None:
            yield [mistake]
        else:
            at, member = mistake.union
            members[at][member].append(mistake)
    for at, complaints in members.items():
        fitting = [
            group for group in complaints.values()
            if not any(mistake.path == at and mistake.kind in WRONG_KIND for mistake in group)
        ]  # fmt: skip
        if fitting:
            for mistake in min(fitting, key=len):
                yield [mistake]
        else:
            yield [group[0] for group in complaints.values()]


def closest(wrong: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like ``wrong``, if any is."""
    folded = {word.lower(): word for word in known}
    close = difflib.get_close_matches(wrong.lower(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None
