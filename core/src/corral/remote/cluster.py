"""A cluster whose scheduler and engine live elsewhere: the same face, and a connection instead of an engine.

Everything shown is a copy of what the engine told last; it tells at once when something changes. Everything asked is
done over there, and the answer brings the newest copy. Long because a handle has all of a cluster's face.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Mapping
from typing import Any, cast

from attrs import asdict, evolve
from distributed.core import Status, rpc
from distributed.objects import SchedulerInfo

from corral.cluster import connecting
from corral.cluster.cluster import Cluster
from corral.cluster.hosting_cluster import HostingCluster
from corral.cluster.scheduler_host import no_scheduler_info
from corral.cluster.shown import resources_of
from corral.errors import ClusterExists, ClusterNotFound, CorralError, InvalidRequest, SchedulerNotReady
from corral.host.files import Files
from corral.jobs.explanation import Explanations
from corral.launch.ending import Ended
from corral.remote.adaptive import RemoteAdaptive
from corral.remote.dashboard import tunnel_to_dashboard
from corral.remote.locate import Residence
from corral.remote.messages import AdaptiveState, State, answer_of, arguments_of, to_explanations, to_state
from corral.remote.names import already_called, find_entry, nothing_called
from corral.remote.spec import Draft
from corral.remote.ways import contact_of, dashboard_at, persistently
from corral.request.awaited import Awaited
from corral.request.quantities import parse_duration
from corral.request.scale import jobs_at_once
from corral.request.worker_group import WorkerGroup
from corral.scaling.adaptive import Adapting
from corral.security import addresses
from corral.security.connections import disconnect
from corral.security.tunnel import Tunnel
from corral.text.logs import logger_of
from corral.text.printable import printable
from corral.view.overview import Overview

logger = logger_of()

#: A scheduler that has written its address answers within so many seconds, or cannot be reached from here.
CONTACT_PATIENCE = 60.0
#: Dask would try for 30 s to reach a scheduler that has ended (s).
CONNECT_TIMEOUT = 5.0
#: Between two pieces of news (s): a cluster that changes all the time is copied four times a second.
NEWS_PAUSE = 0.25

_WHAT_ELSE = ("error", "connect", "replace")


@functools.cache
def _elsewhere(kind: type[Cluster]) -> type[RemoteCluster]:
    """What a class of clusters becomes when their schedulers live in jobs: itself, as a handle."""
    if kind is Cluster:
        return RemoteCluster
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind, RemoteCluster), names)


class RemoteCluster(Cluster):
    """What `Cluster(..., scheduler="job")` and `Cluster.connect` return."""

    #: What is to be started, before it is; None: it is there already.
    _draft: Draft | None = None
    _on_exists = "connect"
    #: It is a handle: the cluster goes on without it.
    _ends_with_process = False
    _patience_with_closing = 180.0

    @staticmethod
    def in_place_of(cluster: Cluster) -> RemoteCluster:
        """A cluster that is being made, as the handle of one elsewhere: whatever its class is, it stays one of them."""
        # mypy takes the class for an instance, which has no hash.
        cluster.__class__ = _elsewhere(type(cluster))  # type: ignore[arg-type]
        return cast("RemoteCluster", cluster)

    def set_up(
        self,
        given: Mapping[str, Any],
        *,
        n_workers: int | Mapping[str, int],
        on_exists: str | None,
        shutdown_on_close: bool | None,
        asynchronous: bool,
        loop: Any,
    ) -> None:
        """Be the handle of a cluster that is to be started; `given` is what `Cluster` was given for it."""
        if on_exists not in (None, *_WHAT_ELSE):
            raise InvalidRequest("on_exists", f"{on_exists!r} is not one of {', '.join(map(repr, _WHAT_ELSE))}")
        draft = Draft.of(given)
        self._state = State.before(draft.blueprint)
        self._draft = draft.wanting(jobs_at_once(resources_of(self._state.groups), n_workers))
        self._on_exists = on_exists or "error"
        self._set_out(Residence.of(draft), shutdown_on_close=shutdown_on_close, asynchronous=asynchronous, loop=loop)

    @classmethod
    def to(
        cls,
        name: str,
        *,
        timeout: str | float,
        shutdown_on_close: bool = False,
        asynchronous: bool = False,
        loop: Any = None,
    ) -> RemoteCluster:
        """Connect to a cluster that is there."""
        cluster = cls.__new__(cls)
        entry = find_entry(name)
        if entry is None:
            raise ClusterNotFound(nothing_called(name))
        # Its own class's: only what it takes differs.
        cluster._state = State(backend=entry.backend, groups={})  # noqa: SLF001
        cluster._set_out(  # noqa: SLF001
            Residence(entry),
            patience=parse_duration("timeout", timeout),
            shutdown_on_close=shutdown_on_close,
            asynchronous=asynchronous,
            loop=loop,
        )
        return cluster

    def _set_out(
        self,
        residence: Residence,
        *,
        patience: float | None = None,
        shutdown_on_close: bool | None,
        asynchronous: bool,
        loop: Any,
    ) -> None:
        self._residence = residence
        residence.reach()
        #: Seconds for a scheduler's job to start; None: as long as it takes.
        self._patience = patience
        self._shutdown_on_close = shutdown_on_close
        #: What was asked for on the event loop, and is not done yet.
        self._asking: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._follower: asyncio.Task[None] | None = None
        self._tunnel: Tunnel | None = None
        self._prefix = ""
        self._undelivered: CorralError | None = None
        HostingCluster.__init__(self, asynchronous=asynchronous, loop=loop, name=residence.entry.name)
        self._begin()

    # --- life ---------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        wished, self._shutdown_on_close = self._shutdown_on_close, False
        is_new = self._draft is not None and await self._settle(self._draft)
        # Until it has started: what could not be started must not stay.
        self._shutdown_on_close = is_new
        await self._attach(self._patience)
        if is_new:
            await self._ask("see_submitted")
            self._shutdown_on_close = wished is not False
        else:
            self._shutdown_on_close = wished is True
        self.status = Status.running
        connecting.remember(self)
        self._follower = asyncio.create_task(self._follow(), name="corral news")

    async def _settle(self, draft: Draft) -> bool:
        """Submit the scheduler's job; False if there is a cluster of this name to connect to.

        Raises
        ------
        ClusterExists
        SubmitRejected, LimitReached, BatchSystemUnavailable
        """
        existing = await self._residence.claim_or_find()
        if existing is not None and self._on_exists == "replace":
            other = await RemoteCluster.to(self.name, timeout=CONTACT_PATIENCE, asynchronous=True)
            await other.shutdown()
            existing = await asyncio.to_thread(self._residence.claim)
        if existing is None:
            draft.blueprint.surroundings.tell_left_out(draft.job)
            await self._residence.submit(draft)
            return True
        if self._on_exists != "connect":
            raise ClusterExists(already_called(self.name, str(existing)))
        self._residence = await asyncio.to_thread(self._residence.give_way_to, existing)
        self._patience = CONTACT_PATIENCE
        return False

    async def _attach(self, patience: float | None) -> None:
        """Find the scheduler, and learn what there is.

        Raises
        ------
        JobsFailed
            Its job has ended.
        SchedulerNotReady
        """
        credentials = await self._residence.await_credentials(patience)
        try:
            contact = await contact_of(credentials, self._residence.elsewhere, CONTACT_PATIENCE)
        except Ended as ended:
            raise SchedulerNotReady(f"cluster {self.name!r}, {self._residence}: {ended}") from None
        self.security = credentials.security()
        self.scheduler_comm = rpc(
            contact.address, timeout=CONNECT_TIMEOUT, connection_args=self.security.get_connection_args("client")
        )
        self._prefix = credentials.dashboard_prefix
        # The clock of this scheduler's host is the one that counts now.
        self._state = evolve(self._state, moment=0.0)
        await self._ask("state")
        if (port := self._state.dashboard_port) is not None:
            to = await dashboard_at(contact.address, port, self._residence.elsewhere)
            if self._tunnel is not None:
                await self._tunnel.close()
            self._tunnel = await tunnel_to_dashboard(to, self._prefix, self.security)

    async def _follow(self) -> None:
        """Keep the copy new."""
        while True:
            try:
                await self._ask("state", seen=self._state.version)
            except OSError:
                if not await self._find_again():
                    return
            except Exception:
                logger.exception("its updates could not be read; trying again", cluster=self.name)
            await asyncio.sleep(NEWS_PAUSE)

    async def _find_again(self) -> bool:
        """After a lost connection: the network may be back, or the scheduler's job was started again."""
        assert self.scheduler_comm is not None
        await disconnect(self.scheduler_comm)
        try:
            await persistently(lambda: self._attach(CONTACT_PATIENCE), self.name)
        except (CorralError, OSError) as error:
            said = self._state.ending or "nothing"
            logger.warning("cluster %s is gone: %s (last said: %s)", self.name, error, said, cluster=self.name)
            await self._let_go()
            return False
        return True

    async def _close_down(self) -> None:
        self.status = Status.closing
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.wait([self._follower])
        if self._asking:
            await asyncio.wait(self._asking, timeout=CONTACT_PATIENCE)
        try:
            if self._shutdown_on_close:
                with self._tried("could not tell whether it has ended; see corral ps"):
                    await self._shut_down()
        finally:
            with self._tried("its connections could not be closed"):
                await self._let_go()

    async def _end_jobs_apart(self, timeout: float) -> None:
        if self._shutdown_on_close:
            await self._residence.await_end(was_asked=False)

    async def _shut_down(self) -> None:
        """End the cluster, and return when its jobs have ended."""
        if self.scheduler_comm is not None:
            try:
                await self._ask("be_shut_down")
            except CorralError as error:
                self._undelivered = error
            except OSError:
                logger.info("its scheduler does not answer any more", cluster=self.name)
        await self._residence.await_end(was_asked=self.scheduler_comm is not None)

    async def _let_go(self) -> None:
        if self._tunnel is not None:
            await self._tunnel.close()
            self._tunnel = None
        if self.scheduler_comm is not None:
            await disconnect(self.scheduler_comm)
        await asyncio.to_thread(self._residence.let_go)
        self.status = Status.closed

    def _remove_traces(self) -> None:
        """They are the engine's."""

    @property
    def _files(self) -> Files:
        return self._residence.home.files

    def shutdown(self, timeout: float | None = None) -> Any:
        """End the cluster, even if others are using it, and wait until its jobs have ended."""
        self._shutdown_on_close = True
        return self.close(timeout)

    def _raise_undelivered(self) -> None:
        if self._undelivered is not None:
            error, self._undelivered = self._undelivered, None
            raise error

    # --- asking -------------------------------------------------------------------------------------------------

    async def _ask(self, question: str, **arguments: Any) -> None:
        """Have something done over there, and learn what there is now.

        Raises
        ------
        CorralError
            What was raised over there.
        OSError
            The connection is lost.
        """
        answer = answer_of(await getattr(self.scheduler_comm, f"corral_{question}")(**arguments))
        if answer is not None:
            state = to_state(answer)
            if state.moment >= self._state.moment:
                self._state = state

    def _tell(self, question: str, **arguments: Any) -> None:
        """Ask; on the event loop, where nobody may wait, in the background and in order."""
        if self._is_on_loop():
            task = asyncio.create_task(self._tell_later(question, arguments))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        else:
            self.sync(self._ask_in_turn, question, **arguments)

    async def _tell_later(self, question: str, arguments: Mapping[str, Any]) -> None:
        try:
            await self._ask_in_turn(question, **arguments)
        except CorralError as error:
            logger.error("%s", error, cluster=self.name)  # noqa: TRY400 - its words say it all

    async def _ask_in_turn(self, question: str, **arguments: Any) -> None:
        async with self._turn:
            await self._ask_for_user(question, **arguments)

    async def _ask_for_user(self, question: str, **arguments: Any) -> None:
        """The same, where a lost connection is told in corral's words."""
        with self._residence.reached():
            await self._ask(question, **arguments)

    # --- what is asked of the engine ----------------------------------------------------------------------------

    def _add_group(self, name: str, group: WorkerGroup) -> None:
        self._tell("have_group", name=name, arguments=arguments_of(group))

    def _remove_group(self, name: str) -> None:
        self._tell("lose_group", name=name)

    def _want(self, jobs: Mapping[str, int]) -> None:
        self._tell("scale_jobs", jobs=dict(jobs))

    def _give_up(self, job: str) -> None:
        self._tell("give_up_job", job=job)

    def _allow(self, argument: str, hours: float | None) -> None:
        self._tell("have_hours", argument=argument, hours=hours)

    def _adapt(self, asked: dict[str, Any]) -> Adapting:
        before, begun = self._state.adaptive, AdaptiveState.asked(asked)
        # Not in the words of the other side: infinity is no number to everybody.
        self._tell("begin_to_adapt", arguments={name: value for name, value in asked.items() if value != math.inf})
        return RemoteAdaptive(
            # Until the first answer, what was asked for is what there will be.
            told=lambda: begun if (told := self._state.adaptive) is None or told is before else told,
            stop=lambda reason: self._tell("stop_adapting", reason=reason),
        )

    async def _await_workers(self, awaited: Awaited) -> None:
        # What was asked for before comes first; others need not wait meanwhile.
        while self._asking:
            await asyncio.wait(set(self._asking))
        await self._ask_for_user("see_workers", **asdict(awaited))

    async def _explain(self, job: str | None) -> Explanations:
        # The engine asks: this host need not know the batch system.
        with self._residence.reached():
            return to_explanations(answer_of(await cast("rpc", self.scheduler_comm).corral_see_why(job=job)))

    # --- what there is ------------------------------------------------------------------------------------------

    @property
    def _shown(self) -> State:
        return self._state

    def overview(self) -> Overview:
        # All of its moments are by the clock over there.
        found = super().overview()
        return evolve(found, moment=self._state.moment) if self._state.moment else found

    def _news(self) -> object:
        return self.status, self._state.version

    def _closing_says(self) -> str:
        return super()._closing_says() if self._shutdown_on_close else "Disconnect"

    @property
    def _uuid(self) -> str:
        return self._residence.entry.uuid

    @property
    def _began(self) -> float:
        return self._state.began

    @property
    def observed(self) -> set[str]:
        return {str(worker["name"]) for worker in self.scheduler_info["workers"].values()}

    @property
    def scheduler_info(self) -> Any:
        """What the Dask scheduler last said about itself and its workers."""
        if self.status is not Status.running or not self._state.identity:
            return no_scheduler_info()
        return SchedulerInfo(self._state.identity)

    @scheduler_info.setter
    def scheduler_info(self, value: Any) -> None:
        """Dask's base class assigns its own copy."""

    @property
    def dashboard_link(self) -> str:
        """Where the dashboard is: on this host, from where an encrypted connection leads to the scheduler's."""
        return "" if self._tunnel is None else addresses.dashboard_link(self._tunnel.port, self._prefix)

    def __repr__(self) -> str:
        if self.status is not Status.running:
            return f"Cluster({self._state.backend!r}, name={self.name!r}, {self.status.name})"
        ending = f"; ends: {self._state.ending}" if self._state.ending else ""
        return printable(
            f"Cluster({self._state.backend!r}, name={self.name!r}, scheduler={self._residence}, "
            f"workers={len(self.observed)}: {self._state.whereabouts}{ending})"
        )
