"""What shells complete: in a real bash, quickly, and without a word where something is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from terminals import Opens

from corral.cluster.registry import AskedLine, Entry, JobLine

pytestmark = pytest.mark.timeout(120)

CORRAL = Path(sys.executable).with_name("corral")


def completed(words: str, **environ: str) -> list[str]:
    """What bash is told about the last of these words."""
    asked = {
        "_CORRAL_COMPLETE": "bash_complete",
        "COMP_WORDS": f"corral {words}",
        "COMP_CWORD": str(words.count(" ") + 1),
    }
    done = subprocess.run([CORRAL], env={**os.environ, **asked, **environ}, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.fixture
def clusters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that are registered."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for number, name in enumerate(("ocean", "orbit")):
        lines = [JobLine(id=f"{number}{at}_0", group="gpu", state="running") for at in range(3)]
        Entry(name=name, uuid=str(number) * 32, backend="local", jobs=lines, asked={f"of-{name}": AskedLine()}).write()


def test_commands_options_and_names_are_completed(clusters: None) -> None:
    """Of clusters, jobs, groups, backends and sites; jobs of the cluster that was named before."""
    assert completed("l") == ["logs"]
    assert {"--redact", "--help"} <= set(completed("--"))
    assert completed("top o") == ["ocean", "orbit"]
    assert completed("logs --cluster oc") == ["ocean"]
    assert completed("logs ") == ["00_0", "01_0", "02_0", "10_0", "11_0", "12_0"]
    assert completed("logs --cluster orbit 1") == ["10_0", "11_0", "12_0"]
    assert completed("explain 0") == ["00_0", "01_0", "02_0"]
    assert completed("script --group of-") == ["of-ocean", "of-orbit"]
    assert "slurm" in completed("script --backend ")
    assert "perlmutter" in completed("sites per")
    assert completed("completion ") == ["bash", "zsh", "fish"]


def test_what_is_wrong_is_no_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that is no folder, files that are not corral's, a configuration that is no YAML: nothing is said."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    registry = tmp_path / "corral" / "registry"
    registry.mkdir(parents=True, mode=0o700)
    registry.parent.chmod(0o700)
    (registry / f"{'0' * 32}.json").write_text("{")
    assert completed("logs ") == []
    shutil.rmtree(tmp_path / "corral")
    (tmp_path / "corral").write_text("")
    assert completed("top ") == []
    (tmp_path / "wrong.yaml").write_text("corral: [")
    completed("script --group ", DASK_CONFIG=str(tmp_path))


def test_nobody_waits_for_what_no_word_needs(clusters: None) -> None:
    """Each finger on the key would wait for distributed for a second: it, and dask, stay where they are."""
    program = (
        "import sys\nfrom corral.cli import main\n"
        "try:\n    main(prog_name='corral', complete_var='_CORRAL_COMPLETE')\n"
        "finally:\n    print(sorted({'dask', 'distributed', 'rich', 'asyncio'} & set(sys.modules)), file=sys.stderr)\n"
    )
    for words, count in (("corral ", "1"), ("corral logs ", "2"), ("corral top o", "2")):
        asked = {"_CORRAL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": count}
        done = subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, **asked}, capture_output=True, text=True, check=True
        )
        assert done.stdout
        assert done.stderr == "[]\n"
    asked |= {"COMP_WORDS": "corral script --back", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **asked}, capture_output=True, text=True, check=True
    )
    assert "plain,--backend" in done.stdout
    assert "distributed" not in done.stderr


def test_in_a_real_bash_the_tab_key_completes(clusters: None, terminal: Opens) -> None:
    """As a person presses it."""
    path = f"{CORRAL.parent}{os.pathsep}{os.environ['PATH']}"
    screen = terminal("--norc", "--noprofile", "-i", program="bash", environ={"PS1": "prompt> ", "PATH": path})
    screen.until("prompt>")
    screen.press('eval "$(corral completion bash)"; echo rea""dy\n')
    screen.until("\nready")
    screen.press("corral logs --cl\tor\t1\t\t")
    screen.until("corral logs --cluster orbit 1")
    screen.until(lambda text: "10_0" in text and "12_0" in text)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_understood_by_it(shell: str) -> None:
    """As far as that shell is installed."""
    script = subprocess.run([CORRAL, "completion", shell], capture_output=True, text=True, check=True).stdout
    assert "_CORRAL_COMPLETE" in script
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    subprocess.run([shell, "-n"], input=script, text=True, check=True)
