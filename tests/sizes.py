"""How large a function and a file may grow before they are taken apart: `python -m tests.sizes`
names what is too large, and ends with 1 when there is any.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
FUNCTION, FILE = 60, 400
"""Lines."""


def sources() -> Iterator[Path]:
    for package in ("protocol", "hub", "api", "workers", "deploy", "tests"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "node_modules" not in path.parts:
                yield path


def too_large() -> list[str]:
    """Each file and function over its size, and by how much."""
    found = []
    for path in sources():
        text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT)
        if (lines := text.count("\n")) > FILE:
            found.append(f"{name} has {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION:
                    found.append(f"{name}: {node.name} has {lines} lines")
    return found


if __name__ == "__main__":
    for line in (found := too_large()):
        print(line)
    sys.exit(bool(found))
