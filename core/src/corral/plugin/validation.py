"""What the core demands of plugin objects, checked before the first hook is called.

pluggy alone lets a misspelt or missing argument, a hook that nobody answers, and a wrapper that forgets to return
pass as a silent None. Here each of them is a PluginError that names the plugin, its distribution and the cure:

- a backend answers every hook that has no default, each exactly once;
- sites and users' plugins only wrap (any of them may answer `job_state_changed` and `check_health`);
- every hook takes the specified arguments, all of them, none more, none with a default;
- a conversation is a generator function, a pure hook is not;
- a hook's result has the specified type, whoever wrapped it;
- jobs keep the names that the backend gives them: :mod:`corral.plugin.job_names`.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NoReturn, TypeVar, get_args, get_origin, get_type_hints

import pluggy
from attrs import frozen

from corral.errors import PluginError, did_you_mean
from corral.plugin import hookspecs
from corral.plugin.hookspecs import hookimpl
from corral.plugin.job_names import NameChecks
from corral.plugin.values import Command, Completed, Conversation, Failure, Job, JobId, Queue

T = TypeVar("T")

# --- the specification, read from hookspecs.py ------------------------------------------------------------------


@frozen(kw_only=True)
class HookSpec:
    """One hook, as `hookspecs.py` declares it."""

    name: str
    arguments: tuple[str, ...]
    #: Any of these is a right answer; a conversation is a Generator.
    results: tuple[type, ...]
    #: One plugin answers it; false for `job_state_changed` and `check_health`.
    is_single: bool

    @property
    def is_conversation(self) -> bool:
        return Generator in self.results

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.arguments)})"


def _read(name: str, *, is_single: bool) -> HookSpec:
    function = getattr(hookspecs, name)
    result = get_type_hints(function)["return"]
    alternatives = get_args(result) if isinstance(result, types.UnionType) else (result,)
    return HookSpec(
        name=name,
        arguments=tuple(inspect.signature(function).parameters),
        results=tuple(get_origin(alternative) or alternative for alternative in alternatives),
        is_single=is_single,
    )


#: Reads the marks that @hookspec and @hookimpl leave; has no plugins.
_MARKS = pluggy.PluginManager("corral")

#: Every hook, by name.
HOOKS = {
    name: _read(name, is_single=bool(marks["firstresult"]))
    for name in vars(hookspecs)
    if (marks := _MARKS.parse_hookspec_opts(hookspecs, name)) is not None
}


# --- plugin objects ---------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class NamedPlugin:
    """A plugin object, with the name and the distribution under which errors speak of it."""

    name: str
    plugin: object
    distribution: str | None = None
    #: Where Python has it, if it was named by that: ``my_lab:Quirks``.
    path: str = ""

    @classmethod
    def of_user(cls, plugin: object) -> NamedPlugin:
        """A plugin that was passed as an object: it goes by the name of its class, or of its module."""
        kind = plugin if isinstance(plugin, type | types.ModuleType) else type(plugin)
        named = cls(name=getattr(kind, "__qualname__", kind.__name__), plugin=plugin)
        if isinstance(plugin, type):
            named.refuse(f"this is the class. Pass an object of it: {named.name}()")
        return named

    def implementations(self) -> Iterator[Implementation]:
        """The methods that are marked as hooks."""
        for name in dir(self.plugin):
            if marks := _MARKS.parse_hookimpl_opts(self.plugin, name):
                yield Implementation(
                    owner=self,
                    hook=marks.get("specname") or name,
                    function=getattr(self.plugin, name),
                    is_wrapper=bool(marks.get("wrapper") or marks.get("hookwrapper")),
                    is_optional=bool(marks.get("optionalhook")),
                )

    def refuse(self, problem: str) -> NoReturn:
        raise PluginError(self.name, problem, distribution=self.distribution)


@frozen(kw_only=True)
class Implementation:
    """One method that is marked as a hook."""

    owner: NamedPlugin
    hook: str
    function: Callable[..., object]
    is_wrapper: bool
    #: Its author allows for a corral that does not have this hook.
    is_optional: bool

    @property
    def is_answer(self) -> bool:
        """True unless any number of plugins may do the same."""
        return not self.is_wrapper and HOOKS[self.hook].is_single

    def refuse(self, problem: str) -> NoReturn:
        self.owner.refuse(f"hook {self.hook!r} {problem}")


# --- the manager ------------------------------------------------------------------------------------------------


def assemble(backend: NamedPlugin, around: Sequence[NamedPlugin] = ()) -> pluggy.PluginManager:
    """Build a manager: the core's defaults, the backend, then those that wrap it.

    Raises
    ------
    PluginError
        One of them does not keep the contract.
    """
    answered = _check_backend(backend)
    for named in around:
        _check_around(named)
    # A default behind the backend's own answer would hide that the backend forgot to return one.
    defaults = types.SimpleNamespace(**{hook: getattr(_Defaults(), hook) for hook in _DEFAULTED - answered})
    checks: list[tuple[object, str]] = []
    names = {name for name in HOOKS if hasattr(NameChecks, name)}
    if able := [each for each in around if names & {found.hook for found in each.implementations()}]:

        def within(each: NamedPlugin) -> pluggy.PluginManager:
            return _manager(defaults, backend, [each])

        alone = _manager(defaults, backend)
        checks.append((NameChecks(alone=alone, within=within, around=able), _NAME_CHECKS))
    return _manager(defaults, backend, around, checks)


def _manager(
    defaults: object,
    backend: NamedPlugin,
    around: Sequence[NamedPlugin] = (),
    checks: Sequence[tuple[object, str]] = (),
) -> pluggy.PluginManager:
    """What was checked, in the order in which it stands around the backend."""
    manager = pluggy.PluginManager("corral")
    manager.add_hookspecs(hookspecs)
    manager.register(defaults, DEFAULTS)
    manager.register(backend.plugin, backend.name)
    for named in around:
        if manager.is_registered(named.plugin):
            named.refuse("the same object was given twice. Give it once")
        manager.register(named.plugin, _free_name(manager, named.name))
    for check, name in checks:
        manager.register(check, name)
    results = {spec.name: _result_check(manager, spec) for spec in HOOKS.values() if spec.is_single}
    manager.register(types.SimpleNamespace(**results), _RESULT_CHECKS)
    manager.check_pending()
    return manager


class _Defaults:
    """Answers for a backend that has nothing to say."""

    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        return job

    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        return None

    @hookimpl
    def describe_queues(self) -> Conversation[list[Queue]]:
        return []
        yield  # what makes this a conversation

    @hookimpl
    def explain_pending(self, job_id: JobId) -> Conversation[str]:
        return ""
        yield  # what makes this a conversation


_DEFAULTED = frozenset(HOOKS).intersection(vars(_Defaults))

#: The names of the core's own plugins in a manager.
DEFAULTS = "corral defaults"
_RESULT_CHECKS = "corral result checks"
_NAME_CHECKS = "corral name checks"


def _result_check(manager: pluggy.PluginManager, spec: HookSpec) -> Callable[[], Generator[None, object, object]]:
    """A wrapper around all others that refuses a result of another type: mostly a forgotten ``return``."""

    def refuse(problem: str, cause: BaseException | None = None) -> NoReturn:
        implementations = getattr(manager.hook, spec.name).get_hookimpls()
        names = [each.plugin_name for each in implementations if each.plugin_name not in (_NAME_CHECKS, _RESULT_CHECKS)]
        raise PluginError(" or ".join(names), f"hook {spec.name!r} {problem}") from cause

    def refuse_to_leave(error: BaseException) -> NoReturn:
        refuse(f"raised {error!r}, which is not an error but the end of a program. Raise an Exception", error)

    def contained(conversation: Generator[Command, Completed, object]) -> Generator[Command, Completed, object]:
        """The same conversation; what would end the event loop that drives it becomes an error."""
        try:
            command = _stepped(conversation.__next__, refuse_to_leave)
            while True:
                try:
                    completed = yield command
                except Exception as error:
                    thrown = error
                    command = _stepped(lambda: conversation.throw(thrown), refuse_to_leave)  # noqa: B023 - at once
                else:
                    answered = completed
                    command = _stepped(lambda: conversation.send(answered), refuse_to_leave)  # noqa: B023 - at once
        except StopIteration as stop:
            return stop.value
        finally:
            _stepped(conversation.close, refuse_to_leave)

    @hookimpl(wrapper=True, tryfirst=True, specname=spec.name)
    def check() -> Generator[None, object, object]:
        try:
            result = yield
        except Exception:
            raise
        except BaseException as error:
            refuse_to_leave(error)
        if not isinstance(result, spec.results):
            refuse(
                f"answered {result!r} where a {spec.results[0].__name__} is expected. "
                "Return it: a wrapper returns what its yield gave"
            )
        return contained(result) if isinstance(result, Generator) else result

    return check


def _stepped(step: Callable[[], T], refuse: Callable[[BaseException], NoReturn]) -> T:
    try:
        return step()
    except Exception:
        raise
    except BaseException as error:
        refuse(error)


def _free_name(manager: pluggy.PluginManager, name: str) -> str:
    free, number = name, 1
    while manager.has_plugin(free):
        number += 1
        free = f"{name} ({number})"
    return free


# --- the rules --------------------------------------------------------------------------------------------------


def _check_backend(backend: NamedPlugin) -> set[str]:
    """Refuse a backend that does not answer each hook once; return the hooks that it answers."""
    answered: set[str] = set()
    for implementation in _checked(backend):
        if implementation.is_answer:
            if implementation.hook in answered:
                implementation.refuse("is answered by two methods. Keep one")
            answered.add(implementation.hook)
    required = {spec.name for spec in HOOKS.values() if spec.is_single} - _DEFAULTED
    for hook in sorted(required - answered):
        if callable(getattr(backend.plugin, hook, None)):
            backend.refuse(f"method {hook!r} is not marked as a hook. Decorate it with @hookimpl")
    if missing := sorted(required - answered):
        backend.refuse(f"nothing answers {', '.join(map(repr, missing))}. Add a method for each hook without a default")
    return answered


#: What a site may say beside its hooks, or instead of any.
_ATTRIBUTES = ("facts", "backend", "backend_options", "defaults", "required", "groups")


def _check_around(named: NamedPlugin) -> None:
    """Refuse a site or a user's plugin that replaces what it may only wrap."""
    implementations = list(_checked(named))
    if not implementations and not any(hasattr(named.plugin, name) for name in _ATTRIBUTES):
        named.refuse("it has no hook. Decorate its methods with @hookimpl(wrapper=True)")
    for implementation in implementations:
        if implementation.is_answer:
            implementation.refuse("replaces the backend's answer. Wrap it: @hookimpl(wrapper=True)")


def _checked(named: NamedPlugin) -> Iterator[Implementation]:
    """The hooks of a plugin, each known and of the specified form."""
    for implementation in named.implementations():
        spec = HOOKS.get(implementation.hook)
        if spec is not None:
            _check_arguments(implementation, spec)
            _check_form(implementation, spec)
            yield implementation
        elif not implementation.is_optional:
            meant = did_you_mean(implementation.hook, HOOKS)
            named.refuse(f"there is no hook {implementation.hook!r}.{meant} The hooks are {', '.join(HOOKS)}")


def _check_arguments(implementation: Implementation, spec: HookSpec) -> None:
    parameters = inspect.signature(implementation.function).parameters
    cure = f"Write {spec}"
    for name, parameter in parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.POSITIONAL_ONLY):
            implementation.refuse(f"takes {parameter}, which is never filled. {cure}")
        if name not in spec.arguments:
            meant = did_you_mean(name, spec.arguments)
            implementation.refuse(f"has an argument {name!r} that does not exist.{meant} {cure}")
        # pluggy leaves such an argument out of the call.
        if parameter.default is not parameter.empty:
            implementation.refuse(f"gives its argument {name!r} a default, and would always get that. {cure}")
    if missing := [name for name in spec.arguments if name not in parameters]:
        implementation.refuse(f"lacks its argument {', '.join(map(repr, missing))}. {cure}")


def _check_form(implementation: Implementation, spec: HookSpec) -> None:
    function = implementation.function
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        implementation.refuse("is async. Hooks do no I/O: yield Commands from a plain generator")
    yields = inspect.isgeneratorfunction(function)
    if implementation.is_wrapper and not yields:
        implementation.refuse("is a wrapper without a yield. Write `result = yield`, and return the result")
    if not implementation.is_wrapper and spec.is_conversation and not yields:
        implementation.refuse("is a conversation without a yield. Yield a Command for each thing to ask")
    if not implementation.is_wrapper and not spec.is_conversation and yields:
        implementation.refuse("yields, but is no conversation. Return the answer")
