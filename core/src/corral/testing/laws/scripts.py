"""Laws about what runs: a job's script on this machine, and the commands by which it reaches its nodes."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from corral.errors import InvalidRequest
from corral.plugin.values import Allocation, Job, Script
from corral.testing.driving import drive
from corral.testing.garbage import HOSTILE, hostile_texts
from corral.testing.laws.declared import Laws, by_property
from corral.testing.recordings import Inside, Submits
from corral.testing.silence import SilentHooks

#: Prints its arguments and some variables, each with a NUL after it.
SHOW = (
    r"""for word; do printf '%s\0' "$word"; done; for name in ${!HOSTILE_*}; do printf '%s\0' "$name=${!name}"; done"""
)

#: So many in each example that 25 of them, alone and through a site, are 500 values at least.
_HOSTILE_TEXTS = st.lists(hostile_texts(), min_size=5, max_size=8)


class ScriptLaws(Laws):
    """Of a job's inside."""

    @by_property
    @example(words=["".join(HOSTILE), *HOSTILE], values=["".join(HOSTILE), *HOSTILE])
    @given(words=_HOSTILE_TEXTS, values=_HOSTILE_TEXTS)
    def test_hostile_values_reach_the_job_unchanged(
        self, hooks: SilentHooks, words: list[str], values: list[str]
    ) -> None:
        """Arguments and environment are data: no quote, ``$(…)`` or line break in them does anything."""
        environment = {f"HOSTILE_{number}": value for number, value in enumerate(values)}
        job = evolve(self.job, command=["bash", "-c", SHOW, "show", *words], environment=environment)
        ended = self._run(hooks, job)
        assert (ended.returncode, ended.stderr) == (0, b"")
        shown = ended.stdout.decode().split("\0")[:-1]
        assert words == shown[: len(words)]
        assert environment == dict(variable.split("=", 1) for variable in shown[len(words) :])

    def test_the_job_sees_the_id_that_submit_returned(self, hooks: SilentHooks, inside: Inside) -> None:
        """A worker says its job's id, and the cluster knows it."""
        job = evolve(self.job, command=["printenv", "CORRAL_JOB_ID"])
        ended = self._run(hooks, job, inside.environ_from(self.transcripts))
        assert inside.job_id == ended.stdout.decode().rstrip("\n")

    def test_an_id_was_seen_from_both_sides(self) -> None:
        """One recorded job is known both from its submission and from its inside."""
        returned = {job_id.text for submission in self._recorded(Submits) for job_id in submission.ids}
        assert returned & {inside.job_id for inside in self._recorded(Inside)}, "record one job in Submits and Inside"

    @pytest.mark.parametrize("epilogue", [[], ["echo epilogue"]], ids=["without epilogue", "with epilogue"])
    def test_the_script_ends_as_its_command_did(self, hooks: SilentHooks, epilogue: list[str]) -> None:
        """The batch system hears the command's exit code, whatever surrounds it."""
        command = ["bash", "-c", "echo command; exit 7"]
        ended = self._run(hooks, evolve(self.job, command=command, prologue=["echo prologue"], epilogue=epilogue))
        assert (ended.returncode, ended.stderr) == (7, b"")
        assert ["prologue", "command", "epilogue"][: 2 + len(epilogue)] == ended.stdout.decode().split()

    def test_launch_command_reaches_every_host(self, hooks: SilentHooks, inside: Inside) -> None:
        """One list for all hosts or one for each, with the command's words unharmed at its end."""
        answers = inside.answers_from(self.transcripts)
        allocation = drive(self._ask(hooks, Script(name="", body=""), inside), answers)
        command = ["printf", "%s", "two words", "$HOME"]
        launched = hooks.launch_command(allocation=allocation, command=command)
        assert len(launched) in (1, len(allocation.hosts))
        for words in launched:
            assert all(type(word) is str and word for word in words)
            # Some hand a whole line to a shell on the other side.
            assert command in (words[-len(command) :], shlex.split(words[-1])[-len(command) :])
        if len(launched) > 1:
            # The first may be run where it is.
            assert all(host in words for host, words in list(zip(allocation.hosts, launched, strict=True))[1:])

    def test_launching_reaches_each_of_two_hosts_once(self, hooks: SilentHooks) -> None:
        """By a command for each, or by one that names both of them or knows them by itself.

        If that says how many there are, it is as many.
        """
        two_nodes = evolve(self.job, resources=evolve(self.job.resources, nodes=2))
        try:
            hooks.prepare_job(job=two_nodes)
        except InvalidRequest:
            pytest.skip("a job runs on one host")
        # In full: another domain may have hosts of the same name.
        hosts = ("kit-north.kit.example", "kit-south.kit.example")
        command = ["printf", "%s", "two words"]
        allocation = Allocation(job_id=self.job_ids(1)[0], hosts=hosts, cores=1)
        launched = [" ".join(words) for words in hooks.launch_command(allocation=allocation, command=command)]
        named = [[host for host in hosts if host in line] for line in launched]
        if len(launched) == 1:
            assert named[0] in ([], [*hosts]), f"one host is reached, and not the other: {launched[0]}"
            assert named[0] or launched[0] != " ".join(command), "it is started here, and not on the other host"
            assert all(launched[0].count(host) <= 1 for host in hosts), f"a host is reached twice: {launched[0]}"
            numbers = {count: self._numbers(hooks, count) for count in (7, 11)}
            for count, other in ((7, 11), (11, 7)):
                odd = numbers[count] - numbers[other] - Counter({str(count): 99})
                assert not odd, f"of {count} hosts it says {sorted(odd)}, and of {other} {sorted(numbers[other])}"
        else:
            # The first may be run where it is.
            assert named in ([[hosts[0]], [hosts[1]]], [[], [hosts[1]]]), f"not each is reached once: {launched}"

    def _numbers(self, hooks: SilentHooks, count: int) -> Counter[str]:
        """The numbers in what is launched on so many hosts."""
        hosts = [f"kit-{chr(ord('a') + index)}" for index in range(count)]
        allocation = Allocation(job_id=self.job_ids(1)[0], hosts=hosts, cores=1)
        launched = hooks.launch_command(allocation=allocation, command=["true"])
        return Counter(re.findall(r"\d+", " ".join(itertools.chain(*launched))))

    def test_the_log_is_where_it_is_said_to_be(self, hooks: SilentHooks) -> None:
        """`Script.log` is a path in the job's folder of logs, with ``{id}`` for the id and no placeholder else.

        A directive that names a file there names it by the same rule, in the batch system's own words for the id.
        """
        folder = "/scratch/kit-logs"
        script: Script = hooks.render_script(job=hooks.prepare_job(job=evolve(self.job, log_directory=folder)))
        silent: Script = hooks.render_script(job=hooks.prepare_job(job=evolve(self.job, log_directory=None)))
        assert silent.log is None, f"a job without a folder for logs has none at {silent.log}"
        assert script.log is not None, "a job with a folder for logs has none: say in Script.log where it is"
        assert script.log.startswith(f"{folder}/"), f"{script.log} is not in {folder}"
        name = script.log.removeprefix(f"{folder}/")
        assert "{id}" in name, f"all jobs of a script would write to {script.log}: {{id}} stands for the job's id"
        strange = re.sub(r"[\w./+-]", "", name.replace("{id}", ""))
        assert not strange, f"{strange!r} in {script.log}: only {{id}} is known to who looks for it"
        header = "\n".join(directive.text for directive in script.directives)
        assert folder in header + script.body, f"nothing in the script makes it write to {folder}"
        first, _, last = name.partition("{id}")
        last = last.rpartition("}")[2]
        if last and re.search(rf"{folder}/\S*{re.escape(last)}", script.body):
            return  # the script opens it itself; see below
        for written in re.findall(rf"{folder}/([^\s'\",;]+)", header):
            same = written.startswith(first) and written.endswith(last)
            assert same, f"{script.log} is written to {folder}/{written}"
            assert written.count("/") == name.count("/"), f"{script.log} is written to {folder}/{written}"

    def test_what_a_script_writes_itself_is_its_log(self, tmp_path: Path) -> None:
        """Where not the batch system but the script opens the log, it is the one that `Script.log` names."""
        hooks, inside = SilentHooks(self.manager()), self._recorded(Inside)[0]
        folder = tmp_path / "logs"
        folder.mkdir()
        job = evolve(self.job, command=["echo", "said by the job"], log_directory=str(folder))
        script: Script = hooks.render_script(job=hooks.prepare_job(job=job))
        ended = self._run(hooks, job, inside.environ_from(self.transcripts))
        # `job_body` leaves the exit code there, too.
        written = {str(path): path.read_text() for path in folder.rglob("*") if path.suffix != ".exit"}
        if written:
            log = (script.log or "").replace("{id}", inside.job_id)
            assert [*written] == [log], "it writes to another file than Script.log says"
            assert "said by the job\n" in written[log]
        else:
            assert ended.stdout == b"said by the job\n"

    def _run(
        self, hooks: SilentHooks, job: Job, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a job's script on this machine, as a job with that environment; it must be valid and leave no file."""
        script: Script = hooks.render_script(job=hooks.prepare_job(job=job))
        texts = [f"{script.shebang}\n{script.body}"]
        if all(directive.text.startswith("#") for directive in script.directives):
            texts.append(str(script))
        if environ is None:
            environ = self._recorded(Inside)[0].environ_from(self.transcripts)
        for text in texts:
            checked = subprocess.run(["bash", "-n"], input=text.encode(), capture_output=True, check=False)
            assert (checked.returncode, checked.stderr) == (0, b"")
            with tempfile.TemporaryDirectory() as home:
                ended = subprocess.run(
                    ["bash", "-c", text],
                    env={**environ, "PATH": os.environ["PATH"], "HOME": home},
                    cwd=home,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    check=False,
                    timeout=60,
                )
                assert not list(Path(home).iterdir()), "the script did what no line of it says"
        return ended
