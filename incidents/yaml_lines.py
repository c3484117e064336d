"""Reads a YAML file into a pydantic type, and names the line of everything that is wrong with it."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

_Type = TypeVar("_Type", bound=BaseModel)

#: The way from the top of the document to a value: keys and positions.
_Place = tuple[Any, ...]

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class Refused(Exception):
    """The file is not valid; the message has one line a finding, each with file and line number."""


def read(path: Path, kind: type[_Type], environment: Mapping[str, str] | None = None) -> _Type:
    """Read ``path`` as YAML 1.2 and validate it as ``kind``; ``${NAME}`` comes from the environment.

    Raises:
        Refused: it is no YAML, has a key twice, names an unset variable, or does not fit ``kind``.
    """
    try:
        tree = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Refused(f"{path}:{line}: {(error.problem or str(error)).splitlines()[0]}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise Refused(f"{path}:1: not YAML in UTF-8: {str(error).splitlines()[0]}") from None
    except OSError as error:
        raise Refused(f"{path}: cannot be read: {error.strerror}") from None
    filled, unset = _filled(tree, dict(os.environ) if environment is None else environment)
    if unset:
        raise Refused(
            "\n".join(f"{path}:{_line(tree, where)}: {name} is not set in the environment" for where, name in unset)
        )
    try:
        return kind.model_validate(filled)
    except ValidationError as error:
        raise Refused("\n".join(_finding(path, tree, item, kind) for item in error.errors())) from None


def _filled(tree: Any, variables: Mapping[str, str]) -> tuple[Any, list[tuple[_Place, str]]]:
    """The tree as plain values with every ``${NAME}`` replaced, and where which variable is not set."""
    unset: list[tuple[_Place, str]] = []

    def fill(node: Any, where: _Place) -> Any:
        if isinstance(node, CommentedMap):
            return {key: fill(value, (*where, key)) for key, value in node.items()}
        if isinstance(node, CommentedSeq):
            return [fill(value, (*where, index)) for index, value in enumerate(node)]
        return _REFERENCE.sub(lambda match: value_of(match, where), node) if isinstance(node, str) else node

    def value_of(match: re.Match[str], where: _Place) -> str:
        name, default = match.groups()
        if name not in variables and default is None:
            unset.append((where, name))
        return variables.get(name, default or "")

    return fill(tree, ()), unset


def _finding(path: Path, tree: Any, item: Any, kind: type[BaseModel]) -> str:
    where = tuple(part for part in item["loc"] if not str(part).startswith("["))
    name = ".".join(str(part) for part in where)
    if item["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(where[-1]), _field_names(kind.model_json_schema()), n=1)
        text = f"unknown key {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")
    elif where:
        text = f"{name}: {item['msg'].removeprefix('Value error, ')}"
    else:  # a finding about the whole says itself, with its first word, where it is
        text = item["msg"].removeprefix("Value error, ")
        where = tuple(int(part) if part.isdigit() else part for part in text.split(maxsplit=1)[0].split("."))
    return f"{path}:{_line(tree, where)}: {text}"


def _field_names(schema: Any) -> set[str]:
    """Every field name in a JSON Schema, at any depth."""
    if isinstance(schema, dict):
        return set(schema.get("properties", {})).union(*(_field_names(value) for value in schema.values()))
    if isinstance(schema, list):
        return set().union(*(_field_names(value) for value in schema))
    return set()


def _line(tree: Any, where: _Place) -> int:
    """The line, from 1, of the deepest part of ``where`` that stands in the file."""
    node, line = tree, 1
    for part in where:
        try:
            mark = node.lc.key(part) if isinstance(node, CommentedMap) else node.lc.item(part)
            line, node = mark[0] + 1, node[part]
        except (AttributeError, KeyError, TypeError, IndexError):
            return line
    return line
