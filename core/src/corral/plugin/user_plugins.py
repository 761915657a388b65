"""Plugins of a user's or a laboratory's own, by the path of what they are in Python: ``my_lab:Quirks``.

They are objects whose hooks stand around a backend's, as those of a site do, and belong to no distribution. A path is
code that runs here, and in the job of a scheduler that lives in one.
"""

from __future__ import annotations

import importlib
import re
import sys
import types
from typing import Any, NoReturn

from corral.errors import CorralError, InvalidRequest, did_you_mean
from corral.plugin.validation import NamedPlugin

_FORM = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*)(:(?P<attribute>[^\W\d]\w*(\.[^\W\d]\w*)*))?")


def named(plugin: object) -> NamedPlugin:
    """A plugin as it was given: an object, or the path of one. What a path names is imported, and a class is called.

    Raises
    ------
    InvalidRequest
        The path leads nowhere, or to something that cannot be made.
    PluginError
        It is a class, and no object.
    """
    if isinstance(plugin, NamedPlugin):
        return plugin
    if isinstance(plugin, str):
        return NamedPlugin(name=plugin, plugin=_made(plugin), path=plugin)
    return NamedPlugin.of_user(plugin)


def path_of(plugin: NamedPlugin) -> str:
    """The path by which another process makes the same.

    Raises
    ------
    InvalidRequest
        There is none; says why, and what to do.
    """
    made = plugin.plugin
    kind = type(made)

    def refuse(why: str) -> NoReturn:
        cure = f"name it by its path, as in plugins=['my_lab:{kind.__name__}']"
        raise InvalidRequest("plugins", f"{made!r} cannot follow the scheduler into another process: {why}. {cure}")

    named = plugin.path or (made.__name__ if isinstance(made, types.ModuleType) else "")
    path = named or f"{kind.__module__}:{kind.__qualname__}"
    if path.partition(":")[0] == "__main__":
        refuse("it is defined in this program, which does not run there. Put it into a module, and")
    if named:
        return path
    if "<locals>" in path:
        refuse("its class is defined in a function. Define it in a module, and")
    try:
        twin = _made(path)
    except CorralError as error:
        problem = error.problem if isinstance(error, InvalidRequest) else str(error)
        refuse(f"{problem}. Write a function without arguments that makes it, and")
    if type(twin) is not kind or _state(twin) != _state(made):
        refuse(f"{kind.__name__}() makes another one. Write a function without arguments that makes this one, and")
    return path


def _made(path: str) -> object:
    """What a path names."""

    def refuse(problem: str, cause: BaseException | None = None) -> NoReturn:
        raise InvalidRequest("plugins", f"{path!r} {problem}") from cause

    form = _FORM.fullmatch(path)
    if form is None:
        refuse("is not the path of a plugin. Write module:name, as in 'my_lab:Quirks'")
    found: Any = _imported(path, form["module"])
    for name in form["attribute"].split(".") if form["attribute"] else ():
        if not hasattr(found, name):
            owner = getattr(found, "__name__", form["module"])
            known = [each for each in dir(found) if not each.startswith("_")]
            refuse(f"leads nowhere: {owner} has no {name!r}.{did_you_mean(name, known)}")
        found = getattr(found, name)
    if isinstance(found, type | types.FunctionType | types.BuiltinFunctionType | types.MethodType):
        try:
            return found()
        except CorralError:
            raise
        except (Exception, SystemExit) as error:
            words = f"{type(error).__name__}: {error}"
            refuse(f"cannot be made: {found.__name__}() raised {words}. It is called without arguments", error)
    return found


def _imported(path: str, module: str) -> types.ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            problem = f"cannot be imported: {module} needs {error.name!r}, which is not there"
        else:
            parent, _, last = module.rpartition(".")
            is_attribute = hasattr(sys.modules.get(parent), last)
            meant = f" Did you mean '{parent}:{last}'?" if is_attribute and ":" not in path else ""
            where = "Install it, or name its folder in PYTHONPATH; the folder that you are in is not looked at"
            problem = f"cannot be imported: there is no module {error.name!r}.{meant or f' {where}'}"
        raise InvalidRequest("plugins", f"{path!r} {problem}") from error
    except (Exception, SystemExit) as error:
        words = f"{type(error).__name__}: {error}"
        raise InvalidRequest("plugins", f"{path!r} cannot be imported: {module} raised {words}") from error


def _state(made: object) -> dict[str, object]:
    """What an object has of its own."""
    slots = [name for kind in type(made).__mro__ for name in _texts(getattr(kind, "__slots__", ()))]
    kept = {name: getattr(made, name) for name in slots if not name.startswith("__") and hasattr(made, name)}
    return {**kept, **getattr(made, "__dict__", {})}


def _texts(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)
