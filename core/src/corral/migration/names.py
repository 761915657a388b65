"""Which names of a program are dask-jobqueue's or dask-mpi's, and where it uses them. Nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

JOBQUEUE, MPI = "dask_jobqueue", "dask_mpi"
#: Parts of those packages that have the same names as the package.
_MODULES = {
    JOBQUEUE: {"core", "htcondor", "local", "lsf", "moab", "oar", "pbs", "runner", "sge", "slurm"},
    MPI: {"core", "execute", "initialize"},
}


@frozen
class Theirs:
    """Something of another tool's."""

    package: str
    #: Empty: the package or one of its modules.
    name: str = ""

    def part(self, name: str) -> Theirs:
        """What this module calls so."""
        # `dask_mpi.initialize` is the function, which hides the module of its name.
        is_module = name in _MODULES[self.package] and (self.package == JOBQUEUE or name == "core")
        return self if is_module else Theirs(self.package, name)


@frozen
class Use:
    """A place where the program uses such a thing."""

    node: ast.expr
    what: Theirs
    #: The nodes around it, the nearest first.
    around: Sequence[ast.AST]

    @property
    def root(self) -> str:
        """The name by which the program comes to it."""
        node = self.node
        while isinstance(node, ast.Attribute):
            node = node.value
        assert isinstance(node, ast.Name)
        return node.id

    @property
    def call(self) -> ast.Call | None:
        """The call that it is the function of."""
        outer = self.around[0]
        return outer if isinstance(outer, ast.Call) and outer.func is self.node else None

    @property
    def is_type(self) -> bool:
        """True if it only says what something is: in an annotation, or as the second argument of `isinstance`."""
        inner: ast.AST = self.node
        for outer in self.around:
            if isinstance(outer, ast.Call):
                return isinstance(outer.func, ast.Name) and outer.func.id == "isinstance" and inner in outer.args[1:]
            for name in ("annotation", "returns"):
                if getattr(outer, name, None) is inner:
                    return True
            if not isinstance(outer, ast.BinOp | ast.Subscript | ast.Tuple):
                return False
            inner = outer
        return False

    @property
    def is_base(self) -> bool:
        """True if a class derives from it."""
        outer = self.around[0]
        return isinstance(outer, ast.ClassDef) and self.node in outer.bases


def imports(tree: ast.AST) -> Iterator[tuple[ast.Import | ast.ImportFrom, ast.alias, Theirs]]:
    """Every import of theirs."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            package, _, rest = (node.module or "").partition(".")
            if package in _MODULES:
                for alias in node.names:
                    is_module = not rest and package == JOBQUEUE and alias.name in _MODULES[package]
                    yield node, alias, Theirs(package, "" if is_module else alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if (package := alias.name.partition(".")[0]) in _MODULES:
                    yield node, alias, Theirs(package)


def bound_name(alias: ast.alias) -> str:
    """What the program calls what it imports so."""
    return alias.asname or alias.name.partition(".")[0]


def uses(tree: ast.AST, names: Mapping[str, Theirs]) -> list[Use]:
    """Where the program uses them, in the order of the text."""
    found: list[Use] = []

    def visit(node: ast.AST, around: tuple[ast.AST, ...]) -> None:
        if isinstance(node, ast.expr) and (what := _resolved(node, names)) is not None:
            found.append(Use(node, what, around))
            return
        for child in ast.iter_child_nodes(node):
            visit(child, (node, *around))

    visit(tree, ())
    return sorted(found, key=lambda use: (use.node.lineno, use.node.col_offset))


def _resolved(node: ast.expr, names: Mapping[str, Theirs]) -> Theirs | None:
    if isinstance(node, ast.Name):
        return names.get(node.id) if isinstance(node.ctx, ast.Load) else None
    if isinstance(node, ast.Attribute):
        base = _resolved(node.value, names)
        return base.part(node.attr) if base is not None and not base.name else None
    return None


def bindings(tree: ast.AST) -> set[str]:
    """Every name that the program gives to something, other than by an import of theirs."""
    theirs = {id(alias) for _, alias, _ in imports(tree)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.alias) and id(node) not in theirs:
            found.add(bound_name(node))
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
    return found


def variables(around: Sequence[ast.AST]) -> Iterator[str]:
    """What the program calls the result of a call, by what is around that: ``cluster``, ``self.cluster``."""
    outer = around[0]
    targets: Sequence[ast.expr | None] = ()
    if isinstance(outer, ast.Assign):
        targets = outer.targets
    elif isinstance(outer, ast.AnnAssign | ast.NamedExpr):
        targets = [outer.target]
    elif isinstance(outer, ast.withitem):
        targets = [outer.optional_vars]
    elif isinstance(outer, ast.Await | ast.BoolOp | ast.IfExp):
        yield from variables(around[1:])
    for target in targets:
        if isinstance(target, ast.Name | ast.Attribute):
            yield ast.unparse(target)
