"""What a backend declares about its batch system without an instance: its traces on a host, and its variables."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import field, frozen


@frozen(kw_only=True)
class RankVariables:
    """What a parallel launcher puts into the environment of each process that it starts."""

    #: The number of the process; if it is set, to a number, a launcher has started this process.
    rank: str
    #: How many processes there are; the first of these that is set counts.
    sizes: tuple[str, ...] = ()
    #: Together these identify the launch; if none is set, the batch job does.
    launch: tuple[str, ...] = ()
    #: It is this launcher only if this variable is set, too.
    condition: str = ""

    @property
    def name(self) -> str:
        """The launcher's name: the beginning of its variables."""
        return self.rank.partition("_")[0].lower()


#: What `BackendFacts.unenforced` may name.
_AMOUNTS = frozenset({"cores", "memory", "gpus", "nodes", "walltime"})


def _names(names: Collection[str]) -> frozenset[str]:
    return frozenset(names)


def _are_amounts(_facts: object, _field: object, names: frozenset[str]) -> None:
    if strange := sorted(names - _AMOUNTS):
        raise ValueError(f"unenforced={strange}: write a set with some of {', '.join(sorted(_AMOUNTS))}")


@frozen(kw_only=True)
class BackendFacts:
    """The attribute `facts` of a backend's class, or of whatever else its entry point names.

    Variables are named in full or, where it says so, by a pattern for `fnmatch`.
    """

    #: The batch system's own name: ``"Grid Engine"``.
    title: str = ""
    #: Address of its home page.
    url: str = ""
    #: Versions on which the plugin has been tested for real.
    tried: str = "not said"
    #: Why there are no queues to choose from, in words that follow its title: ``"has no queues"``. Empty: it has some.
    no_queues: str = ""

    #: Commands whose presence suggests it; `detect` says whether it is really here.
    commands: tuple[str, ...] = ()
    #: Variables, likewise.
    variables: tuple[str, ...] = ()
    #: Files and folders, likewise.
    files: tuple[str, ...] = ()

    #: Patterns (`re`) of how those lines begin that only its job scripts, or submit descriptions, have: by them
    #: `corral migrate` knows whose a script is.
    directives: tuple[str, ...] = ()
    #: Pattern (`re`) of what follows in a line that makes an array of a job; empty: there is none.
    array: str = ""

    #: Patterns of variables that tell a job about itself. They are not passed on to any command or job: a job that is
    #: submitted from inside another must not take the other's for its own.
    enclosing: tuple[str, ...] = ()
    #: Patterns of variables that select the server and how it answers: processes that differ in one of them do not
    #: share answers.
    server: tuple[str, ...] = ()
    #: Variables by which commands find their server: they are passed on to a scheduler's job. Values set on the node
    #: take precedence.
    carried: tuple[str, ...] = ()

    #: Variables that name the job.
    job: tuple[str, ...] = ()
    #: What its own launcher (``srun``, ``flux run``) tells each process; None: it has none.
    ranks: RankVariables | None = None
    #: Variables with the number of the node, if one process was started on each.
    node: tuple[str, ...] = ()

    #: Options that other backends have and people look for: what to do here, or why it cannot be done.
    no_options: Mapping[str, str] = field(factory=dict)

    #: What jobs ask for and neither the batch system nor anybody else holds them to: some of ``cores``, ``memory``,
    #: ``gpus``, ``nodes`` and ``walltime``. Users who ask for it are told; `render_script` need not write it, but
    #: `prepare_job` keeps it, for Dask's workers.
    unenforced: frozenset[str] = field(factory=frozenset, converter=_names, validator=_are_amounts)

    #: Its jobs may run inside those of another batch system: if this process is in both, this one's job is the inner
    #: one.
    is_inner: bool = False
    #: Queries bother nobody else: it needs no command budget, and is asked often.
    is_free_to_ask: bool = False
    #: It is available wherever corral is, so it is not chosen if there may be another, and waits of its jobs are not
    #: remembered: they would say nothing of another host.
    is_everywhere: bool = False
