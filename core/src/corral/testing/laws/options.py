"""Laws about options: each is declared once, with its help, and takes what it says."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from attrs import NOTHING

from corral.errors import InvalidRequest
from corral.plugin.options import DeclaredOption, declared, takes_any
from corral.testing.installed import installed_plugins
from corral.testing.laws.declared import Laws


class OptionLaws(Laws):
    """Of the arguments of the plugin's factory, which are its options."""

    def test_options_are_explained(self) -> None:
        """Each says what it is for, and which values it takes: ``Annotated[int, Option("…")]``."""
        for option in self._options():
            assert option.said is not None, f"the option {option.name!r}: write Annotated[…, Option('…')]"
            assert len(option.help.split()) > 2, f"the option {option.name!r} does not say what it is for"
            assert option.values != "a value", f"the option {option.name!r}: bool, int, float, str or Sequence[str]"
            usual = option.usual
            assert "object at" not in usual + repr(option.default), f"the option {option.name!r}: say default='…'"
            assert option.default is not NOTHING or option.said.default, f"the option {option.name!r}: say default='…'"

    def test_options_take_what_they_say(self) -> None:
        """Their defaults and examples, also as JSON has them: they travel to other processes."""
        for option in self._options():
            values = [] if option.is_required or option.default is NOTHING else [option.default]
            values += [option.said.example] if option.said and option.said.example is not None else []
            for value in values:
                try:
                    assert option.checked(json.loads(json.dumps(value))) == option.checked(value)
                except (TypeError, ValueError) as error:
                    pytest.fail(f"the option {option.name!r} does not take {value!r}: {error}")

    def test_an_option_that_is_not_there_is_refused(self) -> None:
        """A misspelt one would be without effect, and nobody would know: who takes any names looks at them."""
        factory = self._factory()
        if takes_any(factory):
            with pytest.raises((InvalidRequest, TypeError), match="no_such_option"):
                factory(**self.options, no_such_option=1)

    def _options(self) -> list[DeclaredOption]:
        return declared(self._factory())

    def _factory(self) -> Callable[..., object]:
        [plugin, *_] = [each for each in installed_plugins() if (each.kind, each.name) == ("backend", self.backend)]
        factory = plugin.factory()
        # A class that is derived from it, perhaps.
        return type(self.manager().get_plugin(self.backend)) if isinstance(factory, type) else factory
