"""Compare uses of a module with the real module. Run as a program in a process where the real one can be imported.

Arguments: the module to import, its name in sources, a JSON list of source files, and the double (or "-"). Prints a
JSON object with the problems and what was checked.

Sources are read, not listed by hand: every `trt.X.Y`, and every attribute and call on an object whose class is known,
because the source annotates it (`config: trt.IBuilderConfig`) or because the real signature says what a call returns.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

SIGNATURE = re.compile(r"\((?P<arguments>.*)\)(?: -> (?P<result>.+))?$")


class Instance:
    """An object of a real class."""

    def __init__(self, kind: type) -> None:
        self.kind = kind


class Method:
    """A real method of an instance, or a function of the module."""

    def __init__(self, real: Any, bound: bool) -> None:
        self.real, self.bound = real, bound


def signatures(real: Any) -> list[tuple[list[str], int, str]]:
    """(argument names without self, number of required ones, result) of each overload in a pybind11 docstring."""
    found = []
    for line in (real.__doc__ or "").splitlines():
        text = re.sub(r"^\d+\. ", "", line.strip())
        match = SIGNATURE.search(text) if text.startswith(f"{real.__name__}(") else None
        if match is None or "*args" in match["arguments"]:
            continue
        depth, start, parts = 0, 0, []
        body = match["arguments"]
        for at, char in enumerate(body):
            depth += (char in "[(<") - (char in "])>")
            if char == "," and depth == 0:
                parts.append(body[start:at])
                start = at + 1
        parts = [part.strip() for part in [*parts, body[start:]] if part.strip()]
        names = [part.split(":")[0].split("=")[0].split()[-1] for part in parts]
        required = sum("=" not in part for part in parts)
        if names and names[0] in ("self", "arg0") and inspect.ismethoddescriptor(real) | ("self" in names[0]):
            names, required = names[1:], required - 1
        found.append((names, required, match["result"] or ""))
    return found


class Checker(ast.NodeVisitor):
    """Follows the real classes through one source file."""

    def __init__(self, module: ModuleType, alias: str, source: Path) -> None:
        self.module, self.alias, self.source = module, alias, source
        self.names: dict[str, Any] = {}
        self.members: dict[str, Any] = {}
        self.problems: list[str] = []
        self.checked: set[str] = set()

    def problem(self, node: ast.AST, text: str) -> None:
        self.problems.append(f"{self.source.name}:{node.lineno}: {text}")

    def annotation(self, node: ast.AST | None) -> Any:
        """The instance that an annotation `trt.X` (or "trt.X | None") promises."""
        if isinstance(node, ast.BinOp):
            return self.annotation(node.left)
        if isinstance(node, ast.Attribute):
            found = self.value(node)
            return Instance(found) if isinstance(found, type) else None
        return None

    def value(self, node: ast.AST) -> Any:
        """What an expression is in the real module, None when unknown; problems are recorded on the way."""
        if isinstance(node, ast.Name):
            return self.module if node.id == self.alias else self.names.get(node.id)
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == "self" and node.attr in self.members:
                return self.members[node.attr]
            return self.attribute(node, self.value(node.value), node.attr)
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, ast.IfExp):
            options = [self.value(node.body), self.value(node.orelse)]
            return next((option for option in options if option is not None), None)
        return None

    def attribute(self, node: ast.AST, owner: Any, name: str) -> Any:
        if owner is None or isinstance(owner, Method):
            return None
        real = owner.kind if isinstance(owner, Instance) else owner
        label = f"{getattr(real, '__name__', self.alias)}.{name}"
        if isinstance(owner, ModuleType):
            label = f"{self.alias}.{name}"
        self.checked.add(label)
        if not hasattr(real, name):
            self.problem(node, f"{label} does not exist")
            return None
        found = getattr(real, name)
        if isinstance(owner, Instance):
            if isinstance(inspect.getattr_static(real, name), property):
                return None
            return Method(found, bound=True)
        return found

    def call(self, node: ast.Call) -> Any:
        target = self.value(node.func)
        if isinstance(target, type) and target.__module__.startswith(self.module.__name__.split(".")[0]):
            self.arguments(node, Method(target.__init__, bound=True), target.__name__)
            return Instance(target)
        if isinstance(target, Method) or (callable(target) and hasattr(target, "__doc__")):
            method = target if isinstance(target, Method) else Method(target, bound=False)
            unbound_init = isinstance(node.func, ast.Attribute) and node.func.attr == "__init__"
            result = None if unbound_init else self.arguments(node, method, getattr(method.real, "__name__", "?"))
            kind = getattr(self.module, (result or "").split(".")[-1], None)
            return Instance(kind) if isinstance(kind, type) else None
        return None

    def arguments(self, node: ast.Call, method: Method, label: str) -> str | None:
        overloads = signatures(method.real)
        if not overloads or any(isinstance(argument, ast.Starred) for argument in node.args):
            return None
        keywords = {keyword.arg for keyword in node.keywords}
        given = len(node.args) + len(keywords)
        for names, required, result in overloads:
            if required <= given <= len(names) and keywords <= set(names):
                self.checked.add(f"{label}({given})")
                return result
        self.problem(node, f"{label} takes {[names for names, _, _ in overloads]}, called with {given} arguments")
        return None

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        value = self.value(node.value)
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.names[target.id] = value
            elif isinstance(target, ast.Attribute):
                self.value(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        if isinstance(node.target, ast.Attribute):
            self.members[node.target.attr] = self.annotation(node.annotation)
        elif isinstance(node.target, ast.Name):
            self.names[node.target.id] = self.annotation(node.annotation)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.value(node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        self.value(node)
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        # Members are annotated somewhere in the class and used everywhere in it.
        for part in ast.walk(node):
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Attribute):
                self.members[part.target.attr] = self.annotation(part.annotation)
        for base in node.bases:
            real = self.value(base)
            if isinstance(real, type):
                self.overrides(node, real)
        self.generic_visit(node)

    def overrides(self, node: ast.ClassDef, real: type) -> None:
        """Methods that TensorRT calls take the arguments it passes."""
        for part in node.body:
            if isinstance(part, ast.FunctionDef) and not part.name.startswith("__") and hasattr(real, part.name):
                mine = [argument.arg for argument in part.args.args][1:]
                for names, _, _ in signatures(getattr(real, part.name)):
                    self.checked.add(f"override {real.__name__}.{part.name}")
                    if mine != names:
                        self.problem(part, f"{part.name}{mine} overrides {real.__name__}.{part.name}{names}")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer = dict(self.names)
        for argument in node.args.args:
            self.names[argument.arg] = self.annotation(argument.annotation)
        self.generic_visit(node)
        self.names = outer


def check_sources(module: ModuleType, alias: str, sources: list[Path]) -> tuple[list[str], set[str]]:
    """Problems and what was checked."""
    problems: list[str] = []
    checked: set[str] = set()
    for source in sources:
        checker = Checker(module, alias, source)
        checker.visit(ast.parse(source.read_text(encoding="utf-8")))
        problems += checker.problems
        checked |= checker.checked
    return problems, checked


def check_double(module: ModuleType, double: ModuleType) -> tuple[list[str], set[str]]:
    """What the double offers and the real module lacks."""
    problems: list[str] = []
    checked: set[str] = set()

    def compare(real: Any, fake: Any, label: str) -> None:
        for name, value in vars(fake).items():
            own = getattr(value, "__module__", double.__name__) == double.__name__ and not isinstance(value, ModuleType)
            if name.startswith("_") or (fake is double and not own):
                continue
            checked.add(f"double {label}.{name}")
            if not hasattr(real, name):
                problems.append(f"the double offers {label}.{name}, which does not exist")
                continue
            found = getattr(real, name)
            if isinstance(value, type):
                compare(found, value, f"{label}.{name}")
            elif inspect.isfunction(value) and signatures(found):
                parameters = [p for p in inspect.signature(value).parameters if p != "self"]
                names = [names for names, _, _ in signatures(found)]
                if not any(parameters == overload[: len(parameters)] for overload in names):
                    problems.append(f"the double's {label}.{name}{parameters} is really {names}")

    compare(module, double, double.__name__)
    return problems, checked


def main() -> None:
    name, alias, sources, double = sys.argv[1:5]
    module = importlib.import_module(name)
    problems, checked = check_sources(module, alias, [Path(source) for source in json.loads(sources)])
    if double != "-":
        more, also = check_double(module, importlib.import_module(double))
        problems += more
        checked |= also
    version = getattr(module, "__version__", "?")
    print(json.dumps({"version": version, "problems": problems, "checked": sorted(checked)}))


if __name__ == "__main__":
    main()
