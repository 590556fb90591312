"""Checks that an expression in an exported program is arithmetic on sizes and nothing else.

A program writes dynamic sizes as SymPy's constructors, `Mul(Integer(2), Symbol('s77', integer=True))`, and PyTorch
reads them back by evaluating that text as Python. So only text that cannot do anything else may be passed on.
"""

from __future__ import annotations

import ast
import re
import warnings

_LONGEST = 20_000
_SYMBOL = re.compile(r"Symbol\('(\w+)'(?:, \w+=(?:True|False))*\)")
_FUNCTIONS = {
    "Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Max", "Min", "Mod", "Abs", "Eq", "Ne",
    "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "Equality", "Unequality", "LessThan", "GreaterThan",
    "StrictLessThan", "StrictGreaterThan", "Piecewise", "ExprCondPair", "FloorDiv", "ModularIndexing",
    "Where", "PythonMod", "CleanDiv", "CeilDiv", "CeilToInt", "FloorToInt", "LShift", "RShift",
    "PowByNatural", "FloatPow", "FloatTrueDiv", "IntTrueDiv", "IsNonOverlappingAndDenseIndicator",
    "TruncToFloat", "TruncToInt", "RoundToInt", "RoundDecimal", "ToFloat", "Identity",
    "BitwiseFn_bitwise_and", "BitwiseFn_bitwise_or",
}  # fmt: skip
_NAMES = frozenset(("true", "false", "oo", "int_oo"))
_PARTS = (ast.Expression, ast.Load, ast.keyword, ast.UnaryOp, ast.USub, ast.BinOp, ast.operator)
_TEXT = re.compile(r"\w{1,64}")


def is_arithmetic(text: str) -> bool:
    """Whether the text consists only of known functions of sizes, numbers and names."""
    if len(text) > _LONGEST:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return all(_is_harmless(node, called) for node in ast.walk(tree))


def symbol_of(text: str) -> str | None:
    """The name of an expression that is a single symbol; None for any other expression."""
    found = _SYMBOL.fullmatch(text)
    return found[1] if found else None


def _is_harmless(node: ast.AST, called: set[int]) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
    if isinstance(node, ast.Name):
        return id(node) in called or node.id in _NAMES or bool(re.fullmatch(r"[suz]+\d+", node.id))
    if isinstance(node, ast.Constant):
        numeric = isinstance(node.value, (bool, int, float))
        return numeric or (isinstance(node.value, str) and bool(_TEXT.fullmatch(node.value)))
    return isinstance(node, _PARTS)
