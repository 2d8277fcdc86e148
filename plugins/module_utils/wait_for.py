"""The option C(wait_for): a JMESPath expression that must become true of an object. Pure.

Follows https://jmespath.org/specification.html, where false, null and what is empty are not true.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .errors import MeshError
from .visible import about_secrets

_COMPARATORS = {"eq", "ne", "lt", "lte", "gt", "gte"}
_CONTINUED = {"dot", "lbracket", "filter", "flatten", "lparen"}
"""Tokens after which a name is that of a field (or function) whatever it looks like."""
_LITERALS = ("true", "false", "null")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NEAR = 25
UNFIT = (ValueError, TypeError, ArithmeticError, RecursionError)
"""What an expression may raise over a value: jmespath's errors are ValueErrors, and some of Python's come through."""


class Condition(NamedTuple):
    """A compiled expression. C(left) is the compiled left side where the whole is one comparison, C(name) its text."""

    text: str
    whole: Any
    left: Any = None
    name: str = ""

    def missing(self, live: Mapping[str, Any]) -> str | None:
        """Why the expression is not true of the object, None when it is.

        Of a Secret, neither the expression nor what it found is told.
        """
        if "status" in self.text and _stale(live):
            return "its controller has not seen the change yet"
        hidden = live.get("kind") == "Secret"
        try:
            value = self.whole.search(live)
        except UNFIT as error:
            # Functions refuse null, and many a field is not there before a controller writes it.
            return "wait_for is not true" if hidden else f"wait_for {self.text} has no value yet: {_cause(error)}"
        if value or (value == 0 and not isinstance(value, bool)):
            return None
        return "wait_for is not true" if hidden else f"wait_for {self.text} is not true{self._found(live)}"

    def _found(self, live: Mapping[str, Any]) -> str:
        if self.left is None:
            return ""
        value = self.left.search(live)
        shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        return f", {self.name} is {shown}" if isinstance(value, (str, int, float, type(None))) else ""


def asked(params: Mapping[str, Any], present: bool) -> Condition | None:
    """The condition that a task's options ask for. Raises MeshError when they contradict each other."""
    text = params.get("wait_for")
    if text is None:
        return None
    if not params["wait"]:
        raise MeshError("wait_for and wait: false contradict each other; leave one of them out. Nothing was applied.")
    if not present:
        raise MeshError(
            "wait_for goes with state: present only, since nothing is left that it could become true of; that objects "
            "are gone is waited for without it. Nothing was deleted."
        )
    return condition(str(text), about_secrets(params))


def condition(text: str, secret: bool = False) -> Condition:
    """The compiled expression. Raises MeshError that says what is wrong with it and at which character.

    Of an expression about a C(secret) nothing is told.
    """
    try:
        import jmespath  # noqa: F401
    except ImportError as error:
        raise MeshError(
            f"wait_for needs the Python package jmespath where the module runs: {error}. Nothing was applied."
        ) from error
    try:
        return _compiled(text)
    except MeshError:
        if not secret:
            raise
    raise MeshError(
        "wait_for cannot be used, and nothing more is told of an expression about a Secret; try it with another kind. "
        "Nothing was applied."
    )


def _compiled(text: str) -> Condition:
    import jmespath
    from jmespath.exceptions import EmptyExpressionError, ParseError
    from jmespath.lexer import Lexer

    try:
        whole = jmespath.compile(text)
        tokens = list(Lexer().tokenize(text))
        _check_functions(text, whole.parsed)
    except EmptyExpressionError:
        raise MeshError(
            "wait_for is empty; give a JMESPath expression, or leave the option out. Nothing was applied."
        ) from None
    except ParseError as error:
        raise MeshError(_refused(text, error.lex_position, _said(error))) from error
    except RecursionError:
        raise MeshError(_refused(text, 0, "it is nested too deeply")) from None
    _check_literals(text, tokens)
    return Condition(text, whole, *_left(text, whole, tokens))


def _refused(text: str, position: int, why: str) -> str:
    near = text[position : position + _NEAR]
    place = f"at character {position + 1}, {near}" if near else "at its end"
    return f"wait_for is not a JMESPath expression that can be used ({place}): {why}. Nothing was applied."


def _said(error: Any) -> str:
    kind = str(error.token_type or "").lower()
    if kind == "number":
        return f"a number is written in backticks, `{error.token_value}`"
    if kind.startswith("unknown token '='"):
        return "equality is written =="
    if kind.startswith("unclosed"):
        return f"the quotation mark {error.token_value[0]} is not closed"
    if error.token_type is None or kind == "eof":
        return "something is missing there"
    return f"{error.token_value} is not expected there"


def _cause(error: Exception) -> str:
    name, kind = getattr(error, "function_name", None), getattr(error, "actual_type", None)
    return f"{name}() is given {kind}" if name and kind else " ".join(str(error).split())


def _nodes(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, Mapping):
        yield node
        for child in node.get("children") or ():
            yield from _nodes(child)


def _check_functions(text: str, tree: Any) -> None:
    """A function that does not exist is noticed by jmespath only once the expression gets there."""
    from jmespath.functions import Functions

    table = Functions.FUNCTION_TABLE
    for node in _nodes(tree):
        if node["type"] != "function_expression":
            continue
        name, given = node["value"], len(node["children"])
        position = max(text.find(f"{name}("), 0)
        if name not in table:
            raise MeshError(_refused(text, position, f"there is no function {name}"))
        signature = table[name]["signature"]
        variadic = bool(signature) and bool(signature[-1].get("variadic"))
        if given < len(signature) or (given > len(signature) and not variadic):
            raise MeshError(_refused(text, position, f"{name} takes {len(signature)} arguments, not {given}"))


def _check_literals(text: str, tokens: Sequence[Mapping[str, Any]]) -> None:
    """Refuses what is valid, but compares with a field where a value is meant, and so never becomes true."""
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if before["type"] not in _COMPARATORS or after["type"] in _CONTINUED:
            continue
        name, start = str(token["value"]), token["start"]
        if token["type"] == "quoted_identifier" and _PLAIN.fullmatch(name):
            why = f"\"{name}\" is the field of that name; the text is written '{name}', the field without quotes"
            raise MeshError(_refused(text, start, why))
        if token["type"] == "unquoted_identifier" and name.lower() in _LITERALS:
            why = f"{name} is the field of that name; the value is written `{name.lower()}`, the text '{name}'"
            raise MeshError(_refused(text, start, why))


def _left(text: str, whole: Any, tokens: Sequence[Mapping[str, Any]]) -> tuple[Any, str]:
    """The left side, compiled and as text, where the expression is one comparison, else all of it if it is a field."""
    from jmespath.parser import ParsedResult

    tree = whole.parsed
    operators = [position for position, token in enumerate(tokens) if token["type"] in _COMPARATORS]
    if tree["type"] == "comparator" and len(operators) == 1:
        before, end = tokens[: operators[0]], tokens[operators[0]]["start"]
        # What is opened and not closed before the operator are parentheses around the whole.
        around = sum((token["type"] == "lparen") - (token["type"] == "rparen") for token in before)
        name = text[before[around]["start"] : end].strip()
        return ParsedResult(name, tree["children"][0]), name
    return (whole if tree["type"] in ("field", "subexpression", "index_expression") else None), text.strip()


def _stale(live: Mapping[str, Any]) -> bool:
    """Whether the status is known to be that of an older generation, by itself or by all of its conditions."""
    status = live.get("status")
    if not isinstance(status, Mapping):
        return False
    generation = live["metadata"].get("generation", 0)
    conditions = status.get("conditions")
    seen = [entry.get("observedGeneration") for entry in conditions or () if isinstance(entry, Mapping)]
    seen = [status.get("observedGeneration"), *(seen if all(number is not None for number in seen) else ())]
    numbers = [number for number in seen if isinstance(number, int)]
    return bool(numbers) and max(numbers) < generation
