"""What a backend says of its batch system without being made: its traces on a host, and which variables are its own."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class RankVariables:
    """What a parallel launcher puts into the environment of each process that it starts."""

    #: The number of the process; a launcher has started this one if it is set, to a number.
    rank: str
    #: How many there are; the first that is set.
    sizes: tuple[str, ...] = ()
    #: All of these name the launch; with none of them set, the batch job does.
    launch: tuple[str, ...] = ()
    #: It is this launcher only if this variable is set as well.
    condition: str = ""

    @property
    def name(self) -> str:
        """Of the launcher: how its variables begin."""
        return self.rank.partition("_")[0].lower()


@frozen(kw_only=True)
class BackendFacts:
    """The attribute `facts` of a backend's class, or of whatever else its entry point names.

    Variables are named in full, or by a pattern of `fnmatch`, where it says so.
    """

    #: The batch system's own name: ``"Grid Engine"``.
    title: str = ""
    #: Of its home page.
    url: str = ""
    #: Versions against which the plugin was run for real.
    tried: str = "not said"

    #: Commands whose presence speaks for it; `detect` says whether it is really here.
    commands: tuple[str, ...] = ()
    #: Variables, likewise.
    variables: tuple[str, ...] = ()
    #: Files and folders, likewise.
    files: tuple[str, ...] = ()

    #: Patterns of variables in which a job is told of itself. They are passed on to no command and no job: a job that
    #: is submitted from inside another must not take the other's for its own.
    enclosing: tuple[str, ...] = ()
    #: Patterns of variables that choose the server and how it answers: processes that differ in one share no answers.
    server: tuple[str, ...] = ()
    #: Variables by which commands find their server: they follow a scheduler into its job. What the node says wins.
    carried: tuple[str, ...] = ()

    #: Variables that name the job.
    job: tuple[str, ...] = ()
    #: What its own launcher tells each process (``srun``, ``flux run``); None: it has none.
    ranks: RankVariables | None = None
    #: Variables that number the node, where one process was started on each.
    node: tuple[str, ...] = ()

    #: Its jobs may run inside those of another: of two jobs that this process is in, the one of this is the inner.
    is_inner: bool = False
    #: Nobody else suffers from questions: it needs no command budget, and is asked often.
    is_free_to_ask: bool = False
    #: It is wherever corral is, which is no reason to choose it if there may be another.
    is_everywhere: bool = False
