"""From mistakes to lines that help: what is wrong, and what was probably meant.

Values that came from the environment or from files are shown as the ``${...}`` that stands for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from pydantic import BaseModel

from logflow.component import ComponentConfig
from logflow.config.mistakes import NAME_MISMATCH, WRONG_KIND, Context, Mistake, closest, grouped
from logflow.config.tree import Mapping, Node, Problem, Scalar, child, scalars, show

_MESSAGE_CHARACTERS = 400
_TELLING_CHARACTERS = 4
"""A shorter value would be found in harmless text too, and is hidden only where it was used."""

_LISTED_KEYS = 15

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


def did_you_mean(wrong: str, known: Iterable[str], *, what: str = "") -> str:
    """Suggest the closest known word; list all of them when none is close."""
    words = sorted(set(known))
    if close := closest(wrong, words):
        return f"did you mean {close!r}?"
    if not words:
        return f"there are no {what}" if what else "remove it"
    listed = ", ".join(words[:_LISTED_KEYS]) + (", …" if len(words) > _LISTED_KEYS else "")
    return f"known {what or 'keys'}: {listed}"


def explain(mistakes: Iterable[Mistake], secrets: dict[str, str]) -> list[Problem]:
    """Say what is wrong, one problem for each mistake.

    Args:
        mistakes: what was found.
        secrets: values that must not be shown, with what is shown in their place.
    """
    return [_problem(group, secrets) for group in grouped(mistakes)]


def _problem(group: list[Mistake], secrets: dict[str, str]) -> Problem:
    first = group[0]
    text = _describe(first, secrets) if len(group) == 1 else _describe_choice(group, secrets)
    about_type = first.kind in {"unknown_component", "component_type"} and child(first.node, "type")
    if about_type:
        return Problem(about_type.place, (*first.path, "type"), text)
    return Problem(first.node.place, first.path, text)


def _describe_choice(group: list[Mistake], secrets: dict[str, str]) -> str:
    nouns = dict.fromkeys(WRONG_KIND.get(mistake.kind, "") for mistake in group)
    if "" in nouns:
        return "; or ".join(dict.fromkeys(_describe(mistake, secrets) for mistake in group))
    return f"expected {' or '.join(nouns)}, not {_shown(group[0])}"


def _describe(mistake: Mistake, secrets: dict[str, str]) -> str:  # noqa: C901 - a table
    """Say what is wrong and what to do."""
    kind, context, node = mistake.kind, mistake.context, mistake.node
    last = mistake.path[-1] if mistake.path else ""
    if kind in WRONG_KIND:
        is_item = WRONG_KIND[kind] == "a list" and isinstance(node, Scalar) and not mistake.secret
        hint = f"; write [{show(node)}]" if is_item else ""
        return f"expected {WRONG_KIND[kind]}, not {_shown(mistake)}{hint}"
    if kind == "bool_word":
        return f"expected true or false, not {show(node)}; write {context['meant']}"
    if kind in _BOUNDS:
        return _BOUNDS[kind](context) + (f", not {show(node)}" if isinstance(node, Scalar) else "")
    match kind:
        case "missing":
            return f"missing; add the key {str(last)!r}{_meaning(mistake.models, str(last))}"
        case "extra_forbidden":
            meant = _also_called(mistake.models, str(last))
            hint = f"did you mean {meant!r}?" if meant else did_you_mean(str(last), mistake.keys)
            return f"unknown key; {hint}"
        case "literal_error" | "enum":
            return _not_one_of(node, context["expected"])
        case "string_pattern_mismatch":
            return f"{show(node)} does not match the pattern {context['pattern']}"
        case kind if kind == NAME_MISMATCH:
            return "a name has only letters, digits, '_' and '-'; rename it"
        case "unknown_component":
            return f"there is no {context['kind']} of type {_shown_type(node)}; {_known_types(mistake)}"
        case "component_type" if "kind" in context:
            return _component_shape(node, context)
        case _:
            return _guard(_wording(mistake), node, secrets)


def _shown(mistake: Mistake) -> str:
    """Name the value, but do not quote what may hold a secret."""
    is_text = isinstance(mistake.node, Scalar) and isinstance(mistake.node.value, str)
    return "text (not shown here)" if mistake.secret and is_text else show(mistake.node)


def _meaning(models: list[type[BaseModel]], name: str) -> str:
    for model in models:
        field = model.model_fields.get(name)
        if field and field.description:
            return f" ({field.description.rstrip('.')})"
    return ""


def _also_called(models: list[type[BaseModel]], name: str) -> str | None:
    """What a key of other programs is called here."""
    for model in models:
        if issubclass(model, ComponentConfig) and name in model.also_called:
            return model.also_called[name]
    return None


def _not_one_of(node: Node, expected: str) -> str:
    known = re.findall(r"'([^']*)'", expected)
    close = closest(node.text, known) if isinstance(node, Scalar) else None
    hint = f"; did you mean {close!r}?" if close else ""
    return f"{show(node)} is not one of {', '.join(known) or expected}{hint}"


def _shown_type(node: Node) -> str:
    type_node = child(node, "type")
    return show(type_node) if type_node is not None else "?"


def _known_types(mistake: Mistake) -> str:
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


def _wording(mistake: Mistake) -> str:
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
        return f"the value of {show(node)} cannot be used here"
    text = " ".join(text.split())
    return text if len(text) <= _MESSAGE_CHARACTERS else f"{text[: _MESSAGE_CHARACTERS - 1]}…"


def _word(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(text)}(?!\w)")
