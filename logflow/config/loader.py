"""Load a configuration: read files, put them together, validate, and say all that is wrong.

Files are put together in this order: what a file includes (sorted by path) comes before the file
itself, and later ``-c`` files after earlier ones; of a directory, the files ``*.yaml`` and ``*.yml`` are
read, sorted, and ``-`` is stdin. Later scalars and lists win, mappings are merged key by key, and routes
are joined in that order. A source or an output has one place: defining it twice is an error. A file that
is reached twice is read once. Top-level keys that begin with ``x-`` mean nothing.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Map
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from logflow.config.models import Settings
from logflow.config.reading import MAX_FILE_BYTES, read_tree
from logflow.config.substitution import Substitution
from logflow.config.suspicions import defined, named_chains, named_outputs, suspicions
from logflow.config.tree import Items, Mapping, Node, Place, Problem, Scalar, child, show, to_data
from logflow.errors import ConfigError

if TYPE_CHECKING:
    from logflow.config.mistakes import Mistake

MAX_FILES = 1000
_ONCE = ("sources", "outputs")
_JOINED = ("routes", "include")
_STDIN = Path("-")
_STDIN_NAME = "stdin"


@dataclass(frozen=True)
class Loaded:
    """A configuration that can be used.

    Attributes:
        settings: the validated configuration.
        warnings: what is probably not meant, a line each.
        root: the configuration as it was written, put together.
    """

    settings: Settings
    warnings: list[str]
    root: Mapping = field(repr=False)


def load(paths: Sequence[Path], env: Map[str, str], stdin: Callable[[], bytes] | None = None) -> Loaded:
    """Load the configuration that one or more files make up.

    Args:
        paths: the files and directories, in the order of ``-c``; ``-`` is stdin.
        env: the variables that ``${NAME}`` stands for.
        stdin: what ``-`` reads.

    Raises:
        ConfigError: it has mistakes; each is one line with file, line, path and a hint.
    """
    files = _Files(env)
    for path in paths:
        if stdin is not None and path == _STDIN:
            files.read_stdin(stdin())
        elif path.is_dir():
            files.read_directory(path)
        else:
            files.read(path, None)
    root = Mapping(Place(files.first, 1))
    for document in files.documents:
        _merge(root, document, files.problems)
    problems = list(files.problems)
    settings = _validate(root, files, problems)
    if files.complete:
        problems = [*_unknown(root), *problems]
    if settings is None or problems:
        raise ConfigError(list(dict.fromkeys(map(str, sorted(problems, key=files.order)))))
    return Loaded(settings, [str(problem) for problem in suspicions(root, settings)], root)


class _Files:
    """Reads files and what they include.

    Attributes:
        documents: the files' trees, in the order in which they are put together.
        problems: every mistake found in reading.
        complete: whether all files could be read.
        substitution: what replaced ``${...}``.
    """

    def __init__(self, env: Map[str, str]) -> None:
        self.documents: list[Mapping] = []
        self.problems: list[Problem] = []
        self.complete = True
        self.substitution = Substitution(env)
        self._seen: dict[str, str] = {}

    @property
    def first(self) -> str:
        """The name of the first file: where it is said what the configuration lacks."""
        return next(iter(self._seen.values()))

    def order(self, problem: Problem) -> tuple[int, int]:
        """Sort problems by file, as first read, and line."""
        files = list(self._seen.values())
        return files.index(problem.place.file), problem.place.line

    def read(self, path: Path, asked_at: Place | None) -> None:
        """Read a file and, before it, what it includes; ``asked_at`` is the line that includes it."""
        file, real = str(path), os.path.realpath(path)  # which ends at a loop of links
        if real in self._seen:
            return
        self._seen[real] = file
        place = asked_at or Place(file, 1)
        if len(self._seen) > MAX_FILES:
            self._fail(place, f"more than {MAX_FILES} files")
            return
        data = self._content(path, place)
        if data is not None:
            self._parse(data, file, path.parent)

    def read_directory(self, directory: Path) -> None:
        """Read the files of a directory, those of its directories not."""
        found = sorted([*directory.glob("*.yaml"), *directory.glob("*.yml")])
        for path in found:
            self.read(path, None)
        if not found:
            self._seen[str(directory)] = str(directory)
            self._fail(Place(str(directory), 1), "the directory holds no *.yaml or *.yml; check -c")

    def read_stdin(self, data: bytes) -> None:
        """Read what came over stdin; what it includes is looked up in the working directory."""
        self._seen[_STDIN_NAME] = _STDIN_NAME
        if len(data) > MAX_FILE_BYTES:
            self._fail(Place(_STDIN_NAME, 1), "it is larger than 1MiB; use files")
        else:
            self._parse(data, _STDIN_NAME, Path())

    def _parse(self, data: bytes, file: str, directory: Path) -> None:
        before = len(self.problems)
        tree = read_tree(data, file, self.substitution, self.problems)
        if isinstance(tree, Mapping):
            self._include(tree, directory)
            self.documents.append(tree)
        elif tree is not None:
            self._fail(tree.place, f"a configuration is a mapping (key: value), not {show(tree)}")
        elif len(self.problems) > before:
            self.complete = False

    def _content(self, path: Path, place: Place) -> bytes | None:
        try:
            if not path.is_file():
                what = "is not a regular file" if path.exists() else "does not exist"
                self._fail(place, f"the file {path} {what}; check -c and include")
                return None
            with path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            self._fail(place, f"cannot read {path}: {error.strerror}; make it readable for logflow")
            return None
        if len(data) > MAX_FILE_BYTES:
            self._fail(place, f"{path} is larger than 1MiB; split it")
            return None
        return data

    def _include(self, tree: Mapping, directory: Path) -> None:
        patterns = tree.items.get("include")
        for pattern in patterns.items if isinstance(patterns, Items) else []:
            if not isinstance(pattern, Scalar) or not pattern.text or pattern.broken:
                continue
            if glob.has_magic(pattern.text):
                # Path.glob refuses absolute patterns.
                found = sorted(glob.glob(pattern.text, root_dir=directory, recursive=True))  # noqa: PTH207
            else:
                found = [pattern.text]
            for name in found:
                self.read(directory / name, pattern.place)

    def _fail(self, place: Place, text: str) -> None:
        self.complete = False
        self.problems.append(Problem(place, (), text))


def _merge(root: Mapping, document: Mapping, problems: list[Problem]) -> None:
    """Put a file's tree into the whole."""
    if not root.items:
        root.place = document.place
    for key, node in document.items.items():
        if key.startswith("x-"):
            continue  # for anchors, and for other programs
        present = root.items.get(key)
        if isinstance(node, Scalar) and node.value is None and key in (*_ONCE, *_JOINED):
            continue  # `outputs:` with nothing below it
        if present is None:
            root.items[key] = node
        elif key in _JOINED and isinstance(present, Items) and isinstance(node, Items):
            root.items[key] = Items(present.place, present.items + node.items)
        elif key in _ONCE and isinstance(present, Mapping) and isinstance(node, Mapping):
            root.items[key] = _union(key, present, node, problems)
        else:
            root.items[key] = _override(present, node)


def _union(section: str, first: Mapping, second: Mapping, problems: list[Problem]) -> Mapping:
    for name in first.items.keys() & second.items.keys():
        place, other = second.items[name].place, first.items[name].place
        problems.append(Problem(place, (section, name), f"defined twice; the other one is at {other}"))
    return Mapping(first.place, {**second.items, **first.items})


def _override(first: Node, second: Node) -> Node:
    if not (isinstance(first, Mapping) and isinstance(second, Mapping)):
        return second
    merged = dict(first.items)
    for key, node in second.items.items():
        merged[key] = _override(merged[key], node) if key in merged else node
    return Mapping(second.place, merged)


def _validate(root: Mapping, files: _Files, problems: list[Problem]) -> Settings | None:
    """Validate the whole; adds to ``problems``, and returns ``None`` where it cannot be used at all.

    Where text is expected, ``1.20`` or ``true`` means these characters: such scalars are turned
    into text, and the whole is validated again. So it is when keys were mistyped, with what was meant.
    """
    as_text: set[int] = set()
    while True:
        try:
            settings = Settings.model_validate(to_data(root, as_text))
        except ValidationError as error:
            # What explains mistakes is loaded only for those who make some.
            from logflow.config.explain import explain  # noqa: PLC0415
            from logflow.config.mistakes import find_mistakes, scalars_meant_as_text  # noqa: PLC0415

            mistakes = find_mistakes(error, root, Settings)
            if found := scalars_meant_as_text(mistakes) - as_text:
                as_text |= found
                continue
            mended = _take_as_meant(mistakes, root)
            explained = explain(mended or mistakes, files.substitution.secrets)
            problems += [p for p in explained if files.complete or not _perhaps_unread(p)]
            if not mended:
                return None
        else:
            return settings


def _take_as_meant(mistakes: list[Mistake], root: Mapping) -> list[Mistake]:
    """Rename unknown keys to what was meant, so that what stands below them is checked too.

    Returns:
        The mistakes that were mended.
    """
    from logflow.config.mistakes import closest, grouped  # noqa: PLC0415 - as above

    mended = []
    for mistake in [group[0] for group in grouped(mistakes) if len(group) == 1]:
        key = str(mistake.path[-1]) if mistake.path else ""
        parent: Node | None = root
        for part in mistake.path[:-1]:
            parent = child(parent, part) if parent is not None else None
        meant = closest(key, mistake.keys) if mistake.kind == "extra_forbidden" else None
        if meant and isinstance(parent, Mapping) and key in parent.items and meant not in parent.items:
            parent.items = {meant if name == key else name: node for name, node in parent.items.items()}
            mended.append(mistake)
    return mended


def _perhaps_unread(problem: Problem) -> bool:
    """Whether a missing section may stand in a file that could not be read."""
    return len(problem.path) == 1 and problem.text.startswith("missing")


def _unknown(root: Mapping) -> list[Problem]:
    """Find names of outputs and of chains of filters that are not defined."""
    kinds = [
        ("output", "outputs", named_outputs(root), defined(root, "outputs")),
        ("chain of filters", "chains", named_chains(root), defined(root, "filters")),
    ]
    unknown = [
        (what, plural, path, name, known)
        for what, plural, named, known in kinds
        for path, name in named
        if name.text not in known
    ]
    if not unknown:
        return []
    from logflow.config.explain import did_you_mean  # noqa: PLC0415 - as above

    return [
        Problem(
            name.place,
            path,
            f"there is no {what} {show(name)}; {did_you_mean(name.text, known, what=plural)}",
        )
        for what, plural, path, name, known in unknown
    ]
