"""Words that people bring along from other tools, and what each is called here.

dask-jobqueue's and Dask's own, and those of batch systems. A word is looked up by its meaning before anybody guesses
by its spelling: ``ncpus`` is no misspelt ``gpus``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from corral.errors import InvalidRequest, did_you_mean

_CORES = "CPU cores per node of a job are cores=, and processes= is how many workers share them"
_MEMORY = "memory per node of a job is memory=, shared by its workers (processes=)"
_NATIVE = "what only your batch system knows goes to it as it is: extra_directives=[{!r}]"

#: One sentence for many words: what each of them is called here.
_BY_MEANING: Mapping[str, tuple[str, ...]] = {
    "it is account= here": ("project", "billing", "charge_account", "allocation", "project_id"),
    "it is queue= here": ("partition", "queue_name", "job_queue"),
    "it is extra_directives= here": (
        "job_extra_directives", "job_extra", "extra_args", "scheduler_directives", "directives", "header_extra",
    ),
    "it is skip_directives= here": ("job_directives_skip", "header_skip"),
    "it is prologue= here": (
        "job_script_prologue", "worker_init", "setup", "setup_commands", "job_setup", "pre_commands", "init_commands",
    ),
    "lines of shell go into prologue=, and variables into env={'NAME': 'value'}": ("env_extra",),
    "it is epilogue= here": ("job_script_epilogue", "teardown"),
    "it is worker_options= here, as a mapping of keyword arguments: ['--resources', 'GPU=1'] becomes "
    "worker_options={'resources': {'GPU': 1}}": ("worker_extra_args", "extra", "worker_args", "worker_kwargs"),
    "another class of workers is worker_class='package.module.Class'": ("worker_command",),
    "leave it out: every worker has a nanny, which restarts it and watches its memory": ("nanny", "no_nanny"),
    "leave it out: it is TLS, and security=False makes it plain TCP; beside that, another one is "
    "scheduler_options={'protocol': 'ucxx'}": ("protocol",),
    "threads of each worker are threads= here": ("nthreads", "threads_per_worker", "num_threads", "worker_threads"),
    "it is shared_directory= here": ("shared_temp_directory", "shared_dir", "shared_tmp_directory"),
    "it is name= here, and jobs are called after their cluster": ("job_name", "cluster_name", "jobname"),
    "settings for several kinds of jobs are groups=, and the configuration has a section corral.backends for each "
    "backend": ("config_name",),
    "it is backend= here": (
        "batch_system", "cluster_type", "job_cls", "scheduler_type", "provider", "executor", "resource_manager",
    ),
    _CORES: (
        "ncpus", "cpus", "ppn", "job_cpu", "cpus_per_task", "cpus_per_node", "num_cores", "n_cores", "ncores", "cpu",
        "cores_per_node", "cores_per_job", "cpus_per_job", "num_cpus", "slots", "request_cpus",
    ),
    "it is cores= here, divided by processes= (workers per node); threads= says another number of threads":
        ("cores_per_worker", "cpus_per_worker", "worker_cores"),
    _MEMORY: (
        "mem", "job_mem", "mem_per_node", "memory_per_node", "memory_limit", "ram", "request_memory", "mem_gb",
    ),
    "it is memory= here: all of a node's workers together": ("worker_memory", "memory_per_worker", "worker_mem"),
    "it is memory= here: the memory per core times cores=": (
        "mem_per_cpu", "memory_per_core", "mem_per_core", "memory_per_cpu", "pmem", "h_vmem",
    ),
    "a job is nodes= times what stands beside it: processes= is workers per node, and cores= is CPU cores per node": (
        "ntasks", "ntasks_per_node", "tasks_per_node", "num_tasks", "n_tasks", "mpiprocs", "tasks",
    ),
    "workers per node of a job are processes= here": (
        "n_processes", "num_processes", "nprocs", "nprocesses", "workers_per_job", "workers_per_node",
        "n_workers_per_job", "nworkers", "worker_processes", "num_workers_per_job",
    ),
    "cores=, memory=, gpus= and nodes= say it; what they cannot say is an extra directive, extra_directives=['-l …']": (
        "resource_spec", "select",
    ),
    "it is scheduler_options={'dashboard_address': …} here; without, the dashboard listens on loopback and "
    "cluster.dashboard_link finds it": ("dashboard_address", "dashboard", "diagnostics_port"),
    "where the scheduler listens is scheduler_interface= here": ("host", "scheduler_host", "ip"),
    "it is scheduler_port= here": ("port",),
    "it is walltime= here": (
        "time", "time_limit", "timelimit", "max_time", "runtime", "max_walltime", "job_time", "h_rt",
        "duration",
    ),
    "a job's life is walltime=, and drain_time= is how long before its end it begins nothing more": (
        "lifetime", "lifetime_stagger", "lifetime_restart",
    ),
    "it is n_workers= here": ("num_workers", "workers", "n_worker", "worker_count", "initial_workers"),
    "ask for jobs with cluster.scale(jobs=…)": ("jobs", "n_jobs", "num_jobs", "njobs", "max_blocks", "init_blocks"),
    "let a cluster follow its work with cluster.adapt(minimum=…, maximum=…)": (
        "adaptive", "adapt", "minimum", "maximum", "minimum_jobs", "maximum_jobs", "min_workers", "max_workers",
        "adapt_options", "adaptive_options", "minimum_workers", "maximum_workers",
    ),
    "there is none: Client(cluster) in this program, and Cluster.connect(name) in another one": ("scheduler_file",),
    "it is local_directory= here": (
        "local_dir", "temp_dir", "temp_directory", "temporary_directory", "tmp_dir", "tmpdir", "scratch",
        "scratch_directory", "spill_directory",
    ),
    "it is log_directory= here": ("log_dir", "logs_directory", "logdir", "log_path", "output", "error", "stdout"),
    "GPUs per node of a job are gpus= here": (
        "gres", "ngpus", "gpus_per_node", "num_gpus", "n_gpus", "gpu", "request_gpus", "gpus_per_job",
    ),
    "it is gpus= here, per node: each worker has its share of them (processes=)": (
        "gpus_per_task", "gpus_per_worker", "device", "cuda_visible_devices",
    ),
    "CPUs of each worker are affinity= here: 'cores' or 'near-gpu'": (
        "cpu_affinity", "cpu_bind", "cpu_binding", "bind_to", "bind", "pin", "pinning",
    ),
    "nodes per job are nodes= here": ("num_nodes", "n_nodes", "nnodes", "nodes_per_job", "nodes_per_block"),
    "it is env= here": ("env_vars", "environment", "environ", "extra_env", "env_variables", "worker_env"),
    "it is modules= here": ("module", "module_load", "module_loads", "envmodules"),
    "it is conda_env= here": ("conda", "conda_environment", "conda_env_name", "mamba_env"),
    "it is container= here, and what runs it is launch_prefix=": (
        "image", "container_image", "singularity", "singularity_image", "apptainer", "apptainer_image", "sif",
        "docker_image", "shifter",
    ),
    "it is launch_prefix= here": ("launch_command", "command_prefix", "wrapper", "exec_prefix"),
    "the Python of the workers is python= here, which may be one in a virtual environment": (
        "python_executable", "python_path", "executable", "interpreter", "virtualenv", "venv",
    ),
    "it is worker_ports= here, and worker_ports='10000:10100' is a range": (
        "worker_port", "port_range", "worker_port_range", "nanny_port",
    ),
    "it is worker_options={'resources': …} here": ("resources", "worker_resources"),
    "it is worker_options={'preload': …} here": ("preload", "preload_argv", "preloads"),
    "it is preimport= here, a list of modules": ("pre_import", "preimports", "imports", "import_modules"),
    "HTCondor's scratch space is backend_options={'disk': …} here": ("disk", "request_disk"),
    "a schedd or pool of HTCondor's is backend_options={'schedd': …, 'pool': …} here": (
        "submit_command_extra", "cancel_command_extra",
    ),
    "OAR's property for memory is backend_options={'memory_property': …, 'memory_of': 'core'} here": (
        "memory_per_core_property_name",
    ),
    "LSF's units are read from lsf.conf; backend_options={'memory_unit': 'GB'} says others": ("lsf_units",),
    "leave it out: jobs are always submitted by standard input": ("use_stdin",),
    "Grid Engine's parallel environment is backend_options={'parallel_environment': …} here": (
        "pe", "parallel_environment",
    ),
    "kinds of jobs are groups={'name': WorkerGroup(…)} here": ("worker_groups", "specs", "worker_spec", "spec"),
    "it is drain_time= here": ("drain", "grace_period", "shutdown_grace"),
    "it is maximum_core_hours= here": ("max_core_hours", "budget", "core_hours"),
    "it is maximum_gpu_hours= here": ("max_gpu_hours", "gpu_budget", "gpu_hours"),
    "it is backend_options= here": ("plugin_options", "provider_options"),
    "leave it out: a cluster's own certificates are made for it": (
        "tls", "tls_cert", "tls_key", "tls_ca_file", "tls_ca_cert",
    ),
    "say it when you wait: cluster.wait_for_workers(timeout=…); how long a worker looks for its scheduler is "
    "death_timeout=": ("timeout", "worker_timeout", "wait_timeout"),
}  # fmt: skip

#: Options of batch systems that a request has no word for.
_DIRECTIVES: Mapping[str, str] = {
    "qos": "--qos=high", "constraint": "--constraint=skylake", "reservation": "--reservation=name",
    "nodelist": "--nodelist=n[1-4]", "exclude": "--exclude=n7", "exclusive": "--exclusive", "nice": "--nice=100",
    "mail_user": "--mail-user=you", "mail_type": "--mail-type=FAIL", "features": "--constraint=…",
    "licenses": "--licenses=matlab", "comment": "--comment=…", "priority": "-p 100", "cluster": "--clusters=name",
    "clusters": "--clusters=name", "filesystems": "-l filesystems=home", "place": "-l place=scatter",
}  # fmt: skip

MEANINGS = {word: meaning for meaning, words in _BY_MEANING.items() for word in words} | {
    word: _NATIVE.format(example) for word, example in _DIRECTIVES.items()
}


def meaning(word: str, known: Iterable[str]) -> str:
    """`` It is account= here.``: what to write instead of a word that is not known; empty if nobody can tell."""
    plain = word.lower().replace("-", "_")
    if plain in MEANINGS:
        return _sentence(MEANINGS[plain])
    known = list(known)
    return f" It is {plain}= here." if plain in known else did_you_mean(word, known)


def _sentence(said: str) -> str:
    # An argument keeps its small letter.
    word = said.split(maxsplit=1)[0]
    first = said[0] if "=" in word or "." in word else said[0].upper()
    return f" {first}{said[1:]}."


def refuse_unknown(arguments: Iterable[str], known: Iterable[str], owner: str = "Cluster") -> None:
    """Refuse the arguments that nobody knows, each with what it is called here or else the nearest name.

    Raises
    ------
    InvalidRequest
        Names the first of them.
    """
    known = list(known)
    unknown = [name for name in arguments if name not in known]
    if not unknown:
        return
    first, *others = unknown
    instead = meaning(first, known) or f" Its arguments are in help(corral.{owner})."
    more = "".join(f" Nor is {name}{_appended(name, known)}" for name in others)
    raise InvalidRequest(first, f"is not an argument of {owner}.{instead}{more}")


def _appended(name: str, known: Iterable[str]) -> str:
    """``: it is account= here.``"""
    plain = name.lower().replace("-", "_")
    return f": {MEANINGS[plain]}." if plain in MEANINGS else f".{meaning(name, known)}"


def refuse_unknown_bounds(arguments: Mapping[str, object]) -> None:
    """Refuse what `Cluster.adapt` does not know.

    Raises
    ------
    InvalidRequest
    """
    for name in arguments:
        if name in _BOUNDS:
            continue
        if name in ("Adaptive", "worker_key", "scheduler_comm", "key"):
            said = " Leave it out: corral decides which jobs there are and which leave."
        else:
            said = meaning(name, _BOUNDS)
        raise InvalidRequest(name, f"is not an argument of adapt.{said}")


_BOUNDS = (
    "minimum", "maximum", "minimum_jobs", "maximum_jobs", "minimum_cores", "maximum_cores", "minimum_memory",
    "maximum_memory", "prefer", "gpu_price", "target_duration", "interval", "wait_count", "idle_timeout",
    "maximum_core_hours", "maximum_gpu_hours", "groups",
)  # fmt: skip


# --- what other clusters have, and dask-jobqueue's classes ---------------------------------------------------------

#: What to write instead of attributes and methods of other clusters.
_BY_ATTRIBUTE: Mapping[str, tuple[str, ...]] = {
    "cluster.scale(n) says how many workers there should be, and corral chooses which jobs go": (
        "scale_up", "scale_down", "start_workers", "stop_workers", "add_worker", "add_workers", "stop_jobs",
    ),
    "client.retire_workers(…) retires workers, and cluster.scale(n) says how many there should be": ("retire_workers",),
    "cluster.job_script() has the directives of a job, and all that it runs": (
        "job_header", "job_file", "command_template", "shebang",
    ),
    "names of jobs begin with cluster.name, and each is one of cluster.jobs": ("job_name", "jobname"),
    "what each job is asked for is cluster.groups['default'], and which jobs there are cluster.jobs": (
        "worker_spec", "new_spec", "spec", "worker_cores", "worker_memory", "worker_processes", "worker_process_memory",
        "worker_process_threads", "worker_threads",
    ),
    "every job, with its state, is one of cluster.jobs": ("pending_jobs", "running_jobs", "job_ids", "job_id"),
    "every job, with its state, is one of cluster.jobs, and those that failed, with the cause, are cluster.failures": (
        "finished_jobs",
    ),
    "the batch system is what Cluster(backend=…) says": ("job_cls", "config_name"),
    "what a batch system runs is up to its backend, and a plugin of yours, Cluster(plugins=[…]), can change it": (
        "submit_command", "cancel_command", "job_id_regexp",
    ),
    "cluster.logs(job) is what a job printed, and job.log the file": ("log_directory",),
    "another program comes back to a cluster by Cluster.connect(name)": ("from_name",),
}  # fmt: skip
_ATTRIBUTES = {word: said for said, words in _BY_ATTRIBUTE.items() for word in words}

_CLASSES: Mapping[str, str] = {
    **{
        f"{name}Cluster": f"Cluster(backend={name.lower()!r})"
        for name in ("SLURM", "PBS", "SGE", "LSF", "OAR", "Moab", "HTCondor", "Local")
    },
    "JobQueueCluster": "Cluster(backend=…)",
    "SLURMRunner": "Ranks, in corral.allocation.ranks",
}


def attribute_meaning(name: str) -> str:
    """`` Cluster.name …``: what is written here instead of an attribute of other clusters; empty if nothing is."""
    return _sentence(_ATTRIBUTES[name]) if name in _ATTRIBUTES else ""


def missing_attribute(owner: str, name: str) -> AttributeError:
    """Python's own error, with what is written here instead of an attribute of other clusters."""
    said = attribute_meaning(name)
    return AttributeError(f"{owner!r} object has no attribute {name!r}{'.' if said else ''}{said}", name=name)


def refuse_import(name: str) -> None:
    """Refuse the import of a class of dask-jobqueue's with what to write instead.

    Raises
    ------
    ImportError
    """
    if name in _CLASSES:
        raise ImportError(f"corral has no {name}: it is {_CLASSES[name]} here", name="corral")


# --- a section for dask-jobqueue in the configuration --------------------------------------------------------------

#: dask-jobqueue's arguments and keys that mean the same under another name, by that name.
RENAMED: Mapping[str, str] = {
    "project": "account", "job_extra_directives": "extra_directives", "job_extra": "extra_directives",
    "job_directives_skip": "skip_directives", "header_skip": "skip_directives", "job_script_prologue": "prologue",
    "env_extra": "prologue", "job_script_epilogue": "epilogue", "shared_temp_directory": "shared_directory",
    "ncpus": "cores", "job_cpu": "cores", "job_name": "name",
}  # fmt: skip
#: What stands in dask-jobqueue's own file, and means nothing here.
_USUAL: Mapping[str, tuple[Any, ...]] = {
    "name": ("dask-worker",),
    "worker_command": ("distributed.cli.dask_worker",),
    "use_stdin": (True, False),
    "shebang": ("#!/usr/bin/env condor_submit",),
    "nanny": (True,),
}


def translated(section: Mapping[str, Any], known: Iterable[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """A section ``jobqueue.NAME`` in corral's words; and the keys without a plain translation, with what to write."""
    known = set(known)
    found: dict[str, Any] = {}
    left: dict[str, str] = {}
    for key, value in section.items():
        name = str(key).replace("-", "_")
        if value in (None, [], {}, "", ()) or value in _USUAL.get(name, ()):
            continue
        ours, said = _in_our_words(name, value)
        if ours == "backend_options":
            found[ours] = {**found.get(ours, {}), **said}
        elif ours == "extra_directives":
            found[ours] = [*found.get(ours, []), *said]
        elif ours in known and found.get(ours, said) == said:
            found[ours] = said
        else:
            left[str(key)] = MEANINGS.get(name) or f"it says another {ours}= than the rest"
    return {name.replace("_", "-"): value for name, value in found.items()}, left


def _in_our_words(name: str, value: Any) -> tuple[str, Any]:
    """The argument that says what a key of dask-jobqueue's says, and its value; no argument if there is none."""
    if name == "resource_spec":
        return "extra_directives", [f"-l {value}"]
    if name == "disk":
        return "backend_options", {"disk": value}
    if name == "memory_per_core_property_name":
        return "backend_options", {"memory_property": value, "memory_of": "core"}
    if name in ("job_extra", "job_extra_directives") and isinstance(value, Mapping):
        return "extra_directives", statements(value)
    if name == "walltime" and re.fullmatch(r"\d+:\d\d", str(value)):
        return "walltime", f"{value}:00"  # LSF's hours and minutes
    return RENAMED.get(name, name), value


def statements(pairs: Mapping[Any, Any]) -> list[str]:
    """HTCondor's statements, which dask-jobqueue takes as a mapping."""
    return [f"{name} = {value}" for name, value in pairs.items()]
