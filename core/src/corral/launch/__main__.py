"""The order of a launcher's life, in which every step has a reason to come where it does.

1. Find the credentials, the scheduler and this job's allocation, with the standard library alone: a job that came too
   late has ended before distributed is imported. What is to be in a container goes into it here, and begins again.
2. Import distributed while the process has one thread.
3. Fork the zygote, which imports what the user named, and will fork the workers.
4. Run the event loop.

`corral.launch.ending.Exit` lists the exit codes.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from corral.environment.program import Program
from corral.environment.versions import mismatch
from corral.host.cpus import Cpus, own_cpus
from corral.launch.affinity import cpus_of_workers, fewer_threads
from corral.launch.contact import Contact, find_scheduler, wait_for_credentials
from corral.launch.ending import Ended, Exit, code_after, leave, print_lines_at_once, say
from corral.launch.inside import enter
from corral.launch.options import Options
from corral.launch.place import Place, find_place, gpus_of_workers
from corral.launch.scratch import make_scratch
from corral.launch.spread import spread
from corral.launch.zygote import WARNINGS, why_not_fork
from corral.security.credentials import Credentials

#: The seed that Dask itself uses: https://github.com/dask/dask/issues/6640
_HASH_SEED = "6640"


def main(arguments: Sequence[str]) -> int:
    """Be a launcher; returns its exit code."""
    options = Options.parse(arguments)
    print_lines_at_once()
    if options.made_by and (doubt := mismatch(options.made_by)):
        say(doubt)
    for number in WARNINGS:
        signal.signal(number, _end_early)
    seconds: dict[str, float] = {}
    began = time.monotonic()
    try:
        credentials, contact, place = _settle(options, arguments)
    except Ended as ended:
        return _said(ended)
    seconds["credentials"] = time.monotonic() - began
    gpus, cpus = _divide(options, place)

    began = time.monotonic()
    credentials.program.extend_path()
    # Modules stay: looking for garbage among them would take a fifth of a worker's start.
    gc.disable()
    _import_distributed(options.launcher, credentials.program)
    # Not before: these import distributed.
    from corral.launch.crew import Setting
    from corral.launch.preimport import Preimport, fork_prepared, import_for_all
    from corral.launch.run import run
    from corral.launch.worker_process import run_worker

    import_for_all()
    # Nor later: collections would touch, and so copy, the pages that forked workers share.
    gc.freeze()
    gc.enable()
    seconds["import"] = time.monotonic() - began

    try:
        scratch = make_scratch(options.local_directory)
    except OSError as error:
        return _said(Ended(Exit.FAILED, f"no directory for workers: {error}"))
    began = time.monotonic()
    problem = why_not_fork() if options.launcher == "fork" else f"launcher={options.launcher!r}"
    if problem is None:
        prepared = Preimport.of(options, min(map(len, cpus)) if cpus else None)
        # Forked processes leave through here, by SystemExit: nothing around this line may catch it.
        zygote, left_out = fork_prepared(run_worker, scratch, prepared)
    else:
        zygote, left_out = None, _spawn_instead(options, scratch, problem)
    for name, why in left_out.items():
        say(f"{name} was not imported before the workers: {why}")
    seconds["zygote"] = time.monotonic() - began
    setting = Setting(
        options=options, place=place, credentials=credentials, contact=contact, scratch=scratch, seconds=seconds,
        gpus=gpus, cpus=cpus, left_out=left_out,
    )  # fmt: skip
    try:
        return _said(asyncio.run(run(setting, zygote)))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _settle(options: Options, arguments: Sequence[str]) -> tuple[Credentials, Contact, Place]:
    """Find out what is to be known; returns if this launcher is to have workers, and where it has them.

    Raises
    ------
    Ended
        Others had them, or nobody.
    """
    credentials, contact, place = asyncio.run(_find(options))
    if not place.is_alone:
        raise asyncio.run(spread(place, arguments, options.credentials))
    if options.spare_first_node and place.node_index == 0:
        raise Ended(Exit.DONE, "this node is for the scheduler and the script alone")
    if options.inside is not None:
        enter(options, place, arguments, os.environ)
    return credentials, contact, place


def _divide(options: Options, place: Place) -> tuple[list[dict[str, tuple[str, ...]]], list[Cpus] | None]:
    """The GPUs and the CPUs of each worker; libraries that are imported from now on start no more threads than fit."""
    gpus = gpus_of_workers(options, place.allocation, os.environ)
    cpus = cpus_of_workers(options, own_cpus(), place.allocation.cores, gpus)
    if cpus is not None:
        # Not in each worker: what is below numpy reads it once, and distributed imports numpy.
        os.environ.update(fewer_threads(min(map(len, cpus)), os.environ))
    return gpus, cpus


async def _find(options: Options) -> tuple[Credentials, Contact, Place]:
    credentials = await wait_for_credentials(options.credentials, options.cluster_created)
    place, contact = await asyncio.gather(
        find_place(options, os.environ), find_scheduler(credentials, options.death_timeout)
    )
    return credentials, contact, place


def _import_distributed(launcher: str, program: Program) -> None:
    with _read_by_libyaml():
        import dask

        program.configure()
        if not dask.config.get("logging", None) and not dask.config.get("distributed.logging", None):
            # By the environment, because spawned workers must know it too. A user who wants to hear more has said so.
            os.environ["DASK_LOGGING__DISTRIBUTED"] = "warning"
            dask.config.update(dask.config.config, dask.config.collect_env())
        importlib.import_module("distributed")
    if launcher == "spawn":
        dask.config.set({"distributed.worker.multiprocessing-method": "spawn"})


def _spawn_instead(options: Options, scratch: str, problem: str) -> dict[str, str]:
    """Prepare for workers that are new Pythons; returns why modules are not imported before them, by name."""
    if options.launcher == "fork":
        say(f"{problem}: workers are spawned, not forked")
    _write_configuration(scratch)
    return dict.fromkeys(options.preimport, f"{problem}: workers are spawned, and share no imports")


def _write_configuration(scratch: str) -> None:
    """Have spawned workers find Dask's configuration before they import distributed, which reads some of it once.

    In a private file, and not by DASK_INTERNAL_INHERIT_CONFIG: a task's own processes show their environment.
    """
    yaml: Any = importlib.import_module("yaml")
    config: Any = importlib.import_module("dask.config")
    path = os.path.join(scratch, "dask.yaml")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        yaml.safe_dump(config.config, file)
    os.environ["DASK_CONFIG"] = path


@contextlib.contextmanager
def _read_by_libyaml() -> Iterator[None]:
    """Have Dask's own configuration, which every import reads, parsed in C: a twelfth of a worker's start."""
    yaml: Any = importlib.import_module("yaml")
    pure = yaml.SafeLoader
    yaml.SafeLoader = getattr(yaml, "CSafeLoader", pure)
    try:
        yield
    finally:
        yaml.SafeLoader = pure


def _end_early(number: int, _frame: object) -> NoReturn:
    say(f"{signal.Signals(number).name} before there was a worker")
    raise SystemExit(code_after({number}, os.environ))


def _said(ended: Ended) -> int:
    say(str(ended))
    return ended.code


def _fix_hash_seed() -> None:
    """Start again if strings would be hashed differently in each job: what partitions by hash would be wrong.

    The seed is read when an interpreter starts. Scripts export it; this is for launchers started otherwise.
    """
    if os.environ.get("PYTHONHASHSEED", "random") == "random":
        os.environ["PYTHONHASHSEED"] = _HASH_SEED
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - ourselves


if __name__ == "__main__":
    _fix_hash_seed()
    leave(main(sys.argv[1:]))
