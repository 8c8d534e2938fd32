"""Data that a lab edits: YAML read into checked schemas, with errors that name file, line, key and what would be right."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, Tag, ValidationError

from bench.evidence.mask import is_secret, masked

M = TypeVar("M", bound=BaseModel)


class BadInput(Exception):
    """A file, option or value that somebody gave is wrong. One line: where, what, and what would be right."""

    def __init__(self, message: str) -> None:
        # What is quoted may have more than one.
        super().__init__(" ".join(message.splitlines()))


if TYPE_CHECKING:
    _SafeLoader = yaml.SafeLoader
else:  # libyaml's, where PyYAML was built with it, is ten times as fast
    _SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):
    """Safe YAML that refuses a key standing twice, which YAML readers otherwise drop without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict | set):
                raise yaml.MarkedYAMLError(problem="a key is a plain value", problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} stands twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def read(path: Path) -> tuple[Any, yaml.Node | None]:
    """Read a YAML file; returns its data and its node tree (which knows lines). BadInput where it can't be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], n=1)
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise BadInput(f"{path}: no such file{hint}") from None
    except (OSError, UnicodeDecodeError) as no:
        raise BadInput(f"{path}: cannot be read: {no}") from None
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            data = loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as no:
        line = no.problem_mark.line + 1 if no.problem_mark else 1
        raise BadInput(f"{path}:{line}: not YAML: {no.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as no:
        raise BadInput(f"{path}: not YAML: {' '.join(str(no).split())}") from None
    return data, node


def line_of(node: yaml.Node | None, where: Sequence[str | int]) -> int:
    """Line (from 1) of the nearest place in the node tree that `where` leads to."""
    line = 1
    for step in where:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(step):
                    line, node = key.start_mark.line + 1, value
                    break
            else:
                break
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line


def at(path: Path, node: yaml.Node | None, where: Sequence[str | int], what: str) -> BadInput:
    """An error at a place of a file."""
    return BadInput(f"{path}:{line_of(node, where)}: {'.'.join(str(w) for w in where) or 'file'}: {what}")


def nearest(name: str, known: Iterable[Any]) -> str:
    """`did you mean X?` where a known name is near, otherwise the known names."""
    known = [str(one) for one in known]
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known) or 'none'}"


def checked(path: Path, node: yaml.Node | None, data: Any, model: type[M], where: Sequence[str | int] = ()) -> M:
    """Check data against a schema; BadInput naming file, line and key of the first thing that is wrong."""
    try:
        return model.model_validate(data)
    except ValidationError as no:
        errors = no.errors()
        unknown = [e for e in errors if e["type"] == "extra_forbidden"]
        if unknown:
            # A misspelt key is a missing one too, and wrong for every member of a union: take the best fit.
            def misfit(e: Any) -> tuple[int, bool]:
                fields = _fields(model, e["loc"][:-1])
                near = difflib.get_close_matches(str(e["loc"][-1]), fields, n=1)
                return sum(other["loc"][:-1] == e["loc"][:-1] for other in errors), not near

            best = min(unknown, key=misfit)
            hint = nearest(str(best["loc"][-1]), _fields(model, best["loc"][:-1]))
            raise at(path, node, [*where, *_in_file(model, best["loc"])], f"unknown key; {hint}") from None
        first = errors[0]
        place = [*where, *_in_file(model, first["loc"])]
        given = "" if first["type"] == "missing" else f", not {masked(first['input'], any(map(is_secret, place)))!r}"
        what = first["msg"][0].lower() + first["msg"][1:]
        if first["type"] == "missing":
            needs = _fields(model, first["loc"], required=True)
            what += "; add it" + (f" with {', '.join(needs)}" if needs else "")
        raise at(path, node, place, (what + given)[:300]) from None


def _fields(model: Any, where: Sequence[str | int], *, required: bool = False) -> list[str]:
    """The keys that a schema allows (or requires) at a place, as they are written in the file."""
    for step in where:
        model = _inside(model, step)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return []
    return [info.alias or name for name, info in model.model_fields.items() if info.is_required() or not required]


def _in_file(model: Any, where: Sequence[str | int]) -> list[str | int]:
    """A place as the file has it: without the names of a union's members, which pydantic puts in between."""
    steps: list[str | int] = []
    for step in where:
        inside = _inside(model, step)
        if inside is None or not (isinstance(model, types.UnionType) or get_origin(model) is Union):
            steps.append(step)
        model = inside
    return steps


def _tag(member: Any) -> str | None:
    return next((m.tag for m in getattr(member, "__metadata__", ()) if isinstance(m, Tag)), None)


def _inside(model: Any, step: str | int) -> Any:
    """The schema that stands at `step` of a schema, None where it cannot be told."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        info = model.model_fields.get(str(step))
        return _bare(info.annotation) if info else None
    arguments = getattr(model, "__args__", ())
    if isinstance(model, types.UnionType) or get_origin(model) is Union:
        # pydantic names the member of a union that it tried, or its tag.
        return next((_bare(a) for a in arguments if step in (getattr(a, "__name__", None), _tag(a))), None)
    arguments = [a for a in arguments if a is not Ellipsis]
    return _bare(arguments[-1]) if arguments else None


def _bare(annotation: Any) -> Any:
    """A type without its metadata and its `| None`."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if isinstance(annotation, types.UnionType) or get_origin(annotation) is Union:
        members = [a for a in get_args(annotation) if a is not type(None)]
        return _bare(members[0]) if len(members) == 1 else annotation
    return annotation
