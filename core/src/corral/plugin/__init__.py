"""What plugins are written against: everything that a backend or a site imports of corral.

::

    from corral.plugin import BackendFacts, Command, Job, JobId, hookimpl, job_body

`hookspecs` is the contract, `values` what hooks are given and return, `facts` what a backend says of its batch system
without being made, `Option` what it says of an option of its own, `visible_gpus` reads which GPUs a job's environment
names, `scripting` has the body of every job's script, `parsing` what answers of many batch systems have in common. The
other modules of this package are corral's own business with plugins: finding and checking them.
"""

from __future__ import annotations

from corral.errors import (
    CommandError,
    CommandFailed,
    CommandNotFound,
    CommandNotStarted,
    CommandTimedOut,
    InvalidRequest,
    ParseError,
)
from corral.host.gpus import Gpus, visible_gpus
from corral.plugin import parsing
from corral.plugin.carried import CarriesCommands
from corral.plugin.conversations import (
    answered,
    array_as_large_as_taken,
    arrayed_or_alone,
    mapped,
    one_by_one,
    over_ssh,
)
from corral.plugin.facts import BackendFacts, RankVariables
from corral.plugin.hookspecs import CONTRACT, hookimpl
from corral.plugin.options import Option
from corral.plugin.scripting import job_body
from corral.plugin.sites import DescribedSite, NodeType, SiteDescription, SiteFacts, SiteOption
from corral.plugin.values import (
    Allocation,
    Command,
    Completed,
    Conversation,
    Detected,
    Directive,
    Failure,
    FailureKind,
    Finding,
    Job,
    JobId,
    JobState,
    JobStatus,
    Queue,
    Resources,
    Script,
    Verdict,
)

__all__ = [
    "CONTRACT",
    "Allocation",
    "BackendFacts",
    "CarriesCommands",
    "Command",
    "CommandError",
    "CommandFailed",
    "CommandNotFound",
    "CommandNotStarted",
    "CommandTimedOut",
    "Completed",
    "Conversation",
    "DescribedSite",
    "Detected",
    "Directive",
    "Failure",
    "FailureKind",
    "Finding",
    "Gpus",
    "InvalidRequest",
    "Job",
    "JobId",
    "JobState",
    "JobStatus",
    "NodeType",
    "Option",
    "ParseError",
    "Queue",
    "RankVariables",
    "Resources",
    "Script",
    "SiteDescription",
    "SiteFacts",
    "SiteOption",
    "Verdict",
    "answered",
    "array_as_large_as_taken",
    "arrayed_or_alone",
    "hookimpl",
    "job_body",
    "mapped",
    "one_by_one",
    "over_ssh",
    "parsing",
    "visible_gpus",
]
