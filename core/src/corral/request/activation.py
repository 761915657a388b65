"""Lines of a job's script that load modules and activate conda environments; where that fails, the job ends."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

#: Environment Modules 3.2 succeeds whatever happens, and says ``ModuleCmd_Load.c(213):ERROR:105: …``. A module may be
#: loaded under another name than was asked for, so what is not listed is asked for again, in a subshell.
_MODULES_CHECK = """\
for corral_module in {modules}; do
    case ":$LOADEDMODULES:" in
        *":$corral_module:"* | *":$corral_module/"*) ;;
        *) if module load "$corral_module" 2>&1 | grep -q ':ERROR:'; then {failed}; fi ;;
    esac
done"""


def module_lines(modules: Sequence[str]) -> list[str]:
    """Load these modules; no line if there is none to load."""
    if not modules:
        return []
    # `module` is a shell function that login shells define; a job script is none.
    load = f"module load {shlex.join(modules)}"
    check = _MODULES_CHECK.format(modules=shlex.join(modules), failed=_failed(load))
    return ["type module >/dev/null 2>&1 || . /etc/profile", or_end(load), check]


def conda_lines(environment: str) -> list[str]:
    """Activate a conda environment, by its name or path; the last line may fail."""
    conda = os.environ.get("CONDA_EXE", "conda")
    return [f'eval "$({shlex.quote(conda)} shell.bash hook)"', f"conda activate {shlex.quote(environment)}"]


def or_end(line: str) -> str:
    """A line of a job's script whose failure ends the job: what follows would be another Python than was meant."""
    return f"{line} || {{ {_failed(line)}; }}"


def _failed(line: str) -> str:
    said = shlex.quote(f"corral: {line} failed; see above for the reason")
    return f"echo {said} >&2; exit 1"
