"""Programs: calls of dask-jobqueue's classes and of dask-mpi's functions, found by syntax and written anew.

Everything else stays as it is, to the letter. Nothing of the program is imported or run.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from attrs import define, field

from corral.errors import InvalidRequest
from corral.migration.calls import Given, given_by, given_in, written
from corral.migration.comments import comments
from corral.migration.dictionaries import assigned_once, changes_of
from corral.migration.names import JOBQUEUE, MPI, Theirs, Use, bindings, bound_name, imports, uses, variables
from corral.migration.text import Text
from corral.migration.values import Migrated, Remark
from corral.migration.words import CLASSES, RUNNER
from corral.migration.writing import Argument, call
from corral.request.synonyms import attribute_meaning, refuse_unknown_bounds

#: What corral-mpi has of dask-mpi's.
_OF_MPI = ("execute", "initialize", "send_close_signal")

Place = Callable[[int], str]


def migrate_program(text: str, place: Place) -> Migrated | None:
    """A program in corral's words; None if it has nothing of dask-jobqueue's or dask-mpi's.

    Parameters
    ----------
    place
        What a line of it, by its number, is called in remarks.

    Raises
    ------
    InvalidRequest
        It is not Python.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None) or 1
        said = getattr(error, "msg", None) or str(error)
        raise InvalidRequest("FILE", f"{place(line)}: this is not Python: {said}. Mend it first") from None
    if not any(True for _ in imports(tree)):
        return None
    try:
        return _Program(text=Text(text), tree=tree, place=place).migrated()
    except RecursionError:
        raise InvalidRequest("FILE", f"{place(1)}: what it says is nested too deeply to be read") from None


@define(kw_only=True)
class _Program:
    text: Text
    tree: ast.Module
    place: Place
    remarks: list[Remark] = field(factory=list, init=False)
    #: What the program uses now in the place of each name that it imports: modules, and names of modules.
    needs: dict[str, set[tuple[str, str]]] = field(factory=dict, init=False)
    #: Names of dask-jobqueue's that stay, because corral has no words for their use.
    kept: set[Theirs] = field(factory=set, init=False)
    _kept_roots: set[str] = field(factory=set, init=False)
    clusters: set[str] = field(factory=set, init=False)
    done: Counter[Theirs] = field(factory=Counter, init=False)
    #: Dictionaries that are unpacked in calls, and for which class each was translated.
    _translated: dict[ast.expr, str] = field(factory=dict, init=False)
    _is_taken: bool = field(default=False, init=False)
    _comments: Mapping[int, tuple[int, str]] = field(factory=dict, init=False)

    def migrated(self) -> Migrated:
        self._comments = comments(self.text.text)
        self._is_taken = "Cluster" in bindings(self.tree)
        found = list(imports(self.tree))
        names = {bound_name(alias): what for _, alias, what in found if alias.name != "*"}
        for _, alias, what in found:
            if alias.name == "*" and what.package == JOBQUEUE:
                names |= {name: Theirs(JOBQUEUE, name) for name in (*CLASSES, RUNNER)}
        for use in uses(self.tree, names):
            self._rewrite(use)
        self._rewrite_imports()
        self._look_at_clusters()
        self._look_at_configuration()
        return Migrated(text=self.text.changed(), remarks=self.remarks)

    def remark(self, node: ast.AST, said: str, *, is_lost: bool = True) -> None:
        line: int = getattr(node, "lineno", 1)
        self.remarks.append(Remark(place=self.place(line), said=said, is_lost=is_lost, line=line))

    # --- what is used -------------------------------------------------------------------------------------------

    def _rewrite(self, use: Use) -> None:
        self.done[use.what] += 1
        if use.what.package == MPI:
            return
        if use.what.name in CLASSES and use.call is not None:
            self._rewrite_call(use, use.call, use.what.name)
        elif use.what.name == RUNNER and use.call is not None:
            self._rewrite_call(use, use.call, RUNNER)
        elif use.what.name in CLASSES and use.is_type:
            self.text.replace(use.node, self._named(use, "Cluster"))
        else:
            self._keep(use)

    def _keep(self, use: Use) -> None:
        self.kept.add(use.what)
        self._kept_roots.add(use.root)
        name = use.what.name or "dask_jobqueue"
        if use.what.name not in (*CLASSES, RUNNER):
            said = f"{name} has no counterpart here; take it out"
        elif use.is_base:
            said = (
                f"a class derives from {name}: it stays as it is, on corral_jobqueue.{name} (pip install "
                "corral-jobqueue); what your computing centre needs can become a site's plugin: corral new-site"
            )
        else:
            said = (
                f"{name} is not called here, so its arguments are not known: it stays as it is, and is "
                f"corral_jobqueue.{name} (pip install corral-jobqueue)"
            )
        self.remark(use.node, said)

    def _named(self, use: Use, name: str) -> str:
        """What the program calls something of corral's, which it will have to import."""
        module = "corral.allocation.ranks" if name == "Ranks" else "corral"
        if isinstance(use.node, ast.Name) and not (name == "Cluster" and self._is_taken):
            self.needs.setdefault(use.root, set()).add((module, name))
            return name
        self.needs.setdefault(use.root, set()).add((module, ""))
        return f"{module}.{name}"

    def _rewrite_call(self, use: Use, node: ast.Call, class_name: str) -> None:
        given, unpacked, remarks = given_by(node, self.text, self._comments, self.place)
        self.remarks += remarks
        apart: dict[ast.expr, tuple[ast.expr, dict[str, Given]] | None] = {}
        for each in unpacked:
            if not isinstance(each, ast.Name) and (inside := given_in(each, self.text, self._comments)) is not None:
                given |= inside
            else:
                apart[each] = self._written_out(each)
        beside = {name for found in apart.values() if found for name in found[1]}
        found = written(class_name, given, self.text, self.place, line=node.lineno, beside=beside)
        self.remarks += found.remarks
        arguments = [*found.arguments, *(Argument(text=f"**{self.text.of(each)}") for each in apart)]
        for each, out in apart.items():
            self._rewrite_apart(
                each, out, class_name, beside=given, new={argument.name for argument in found.arguments}
            )
        name = self._named(use, "Ranks" if class_name == RUNNER else "Cluster")
        backend = [] if class_name == RUNNER else [Argument(name="backend", text=f'"{CLASSES[class_name]}"')]
        indent = self.text.indent(node.lineno)
        self.text.replace(node, call(name, [*backend, *arguments], indent=indent, before=node.col_offset))
        self._note(next(each for each in use.around if isinstance(each, ast.stmt)).lineno, found.comments)
        self.clusters |= set(variables(use.around[1:]))

    def _note(self, line: int, left: Iterable[str]) -> None:
        """Put notes on arguments that are no more above this line."""
        for comment in left:
            self.text.insert_line(line, f"{self.text.indent(line)}# {comment}")

    # --- what is unpacked ---------------------------------------------------------------------------------------

    def _written_out(self, node: ast.expr) -> tuple[ast.expr, dict[str, Given]] | None:
        """Where the dictionary of a variable is written out, and what is in it."""
        where = assigned_once(self.tree, node.id) if isinstance(node, ast.Name) else None
        given = given_in(where, self.text, self._comments) if where is not None else None
        return (where, given) if where is not None and given is not None else None

    def _rewrite_apart(
        self,
        node: ast.expr,
        out: tuple[ast.expr, dict[str, Given]] | None,
        class_name: str,
        *,
        beside: Collection[str],
        new: Collection[str],
    ) -> None:
        """Translate ``**options`` where they are written out."""
        source = self.text.of(node)
        if out is None:
            said = f"**{source}: change the words in it that corral calls otherwise; an error names them"
            self.remark(node, said)
            return
        where, given = out
        if self._translated.setdefault(where, class_name) == class_name:
            found = written(class_name, given, self.text, self.place, line=where.lineno, beside=beside)
            self.remarks += found.remarks
            if twice := {argument.name for argument in found.arguments} & set(new):
                said = f"{' and '.join(sorted(twice))} is given here, and in {source} too; put both together"
                self.remark(node, said)
            self._replace_dictionary(where, found.arguments)
            self._note(where.lineno, found.comments)
            assert isinstance(node, ast.Name)
            for change, said in changes_of(self.tree, node.id):
                self.remark(change, f"{self.text.of(change)}: {said}")
        else:
            said = f"**{source} is in the words of {self._translated[where]}, for which it was translated first"
            self.remark(node, said, is_lost=False)

    def _replace_dictionary(self, where: ast.expr, arguments: Iterable[Argument]) -> None:
        indent = self.text.indent(where.lineno)
        if isinstance(where, ast.Call):
            self.text.replace(where, call("dict", list(arguments), indent=indent, before=where.col_offset))
            return
        pairs = [
            Argument(text=f'"{each.name}": {each.text}', comment=each.comment, stays=each.stays) for each in arguments
        ]
        has_lines = where.end_lineno != where.lineno
        shown = call("", pairs, indent=indent, before=1000 if has_lines else where.col_offset)
        self.text.replace(where, f"{{{shown[1:-1]}}}")

    # --- imports ------------------------------------------------------------------------------------------------

    def _rewrite_imports(self) -> None:
        """What is imported after this: what is used, from where it is now."""
        statements = {id(node): node for node, _, _ in imports(self.tree)}
        for node in statements.values():
            if isinstance(node, ast.Import):
                self._rewrite_modules(node)
            elif (node.module or "").partition(".")[0] == MPI:
                self._rewrite_mpi(node)
            else:
                self._rewrite_names(node)

    def _rewrite_mpi(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name not in _OF_MPI:
                self.remark(node, f"corral_mpi has no {alias.name}; it has {', '.join(_OF_MPI)}")
        names = ", ".join(ast.unparse(alias) for alias in node.names)
        self.text.replace(node, f"from corral_mpi import {names}")
        self._tell_of_mpi(node)

    def _tell_of_mpi(self, node: ast.stmt) -> None:
        self.remark(
            node,
            "corral_mpi takes dask-mpi's words (pip install corral-mpi). Where only Dask needs MPI, leave it out: "
            "`corral run` in the job script, or corral.allocation.ranks",
            is_lost=False,
        )

    def _rewrite_names(self, node: ast.ImportFrom) -> None:
        needs: set[tuple[str, str]] = set()
        kept = []
        for alias in node.names:
            if alias.name == "*":
                needs.update(*self.needs.values())
                kept += [name for name in (*CLASSES, RUNNER) if Theirs(JOBQUEUE, name) in self.kept]
            else:
                needs |= self.needs.get(bound_name(alias), set())
                kept += self._kept_as(node, alias)
        lines = [f"import {module}" for module, name in sorted(needs) if not name]
        lines += [f"from {module} import {name}" for module, name in sorted(needs) if name]
        if kept:
            lines.append(f"from corral_jobqueue import {', '.join(kept)}")
        indent = self.text.indent(node.lineno)
        separator = f"\n{indent}" if self.text.is_first(node) else "; "
        self.text.replace(node, separator.join(lines) or "pass")

    def _kept_as(self, node: ast.ImportFrom, alias: ast.alias) -> list[str]:
        """What an import goes on importing, from corral-jobqueue."""
        if alias.name not in (*CLASSES, RUNNER):
            return []
        if not self.done:
            said = f"{alias.name} is not used here: it comes from corral_jobqueue (pip install corral-jobqueue)"
            self.remark(node, said)
        return [ast.unparse(alias)] if Theirs(JOBQUEUE, alias.name) in self.kept or not self.done else []

    def _rewrite_modules(self, node: ast.Import) -> None:
        for alias in node.names:
            package, name = alias.name.partition(".")[0], bound_name(alias)
            if package == MPI:
                self.text.replace(alias, f"corral_mpi as {name}")
                self._tell_of_mpi(node)
            elif package == JOBQUEUE:
                modules = sorted(module for module, part in self.needs.get(name, ()) if not part)
                if name in self._kept_roots:
                    modules.append(f"corral_jobqueue as {name}")
                self.text.replace(alias, ", ".join(dict.fromkeys(modules)) or "corral")

    # --- what follows -------------------------------------------------------------------------------------------

    def _look_at_clusters(self) -> None:
        """Attributes and methods of theirs that corral's clusters do not have."""
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Attribute) or ast.unparse(node.value) not in self.clusters:
                continue
            if said := attribute_meaning(node.attr):
                self.remark(node, f"{self.text.of(node)}: a corral cluster has none.{said}")
        for node in ast.walk(self.tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "adapt"
                and ast.unparse(node.func.value) in self.clusters
            ):
                try:
                    refuse_unknown_bounds({each.arg: None for each in node.keywords if each.arg})
                except InvalidRequest as error:
                    self.remark(node, str(error))

    def _look_at_configuration(self) -> None:
        """Settings of dask-jobqueue's that the program makes itself."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                match = re.fullmatch(r"jobqueue\.([\w-]+)(\.[\w-]+)*", node.value)
                if match:
                    said = (
                        f"{node.value!r} is a setting of dask-jobqueue's: `corral migrate` says what a file with "
                        f"it would say, under corral.backends.{match[1]}"
                    )
                    self.remark(node, said)
