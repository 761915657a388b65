"""Other batch systems: what they print when they are asked for their version, and what their jobs are told.

A backend must know its own among them. Versions and variables are those of each system's documentation, and of real
ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import field, frozen

from corral.plugin.values import Completed


@frozen(kw_only=True)
class Other:
    """One batch system, or something else that has jobs."""

    #: As `BackendFacts.title` has it.
    title: str
    #: What it prints, which names it.
    versions: tuple[Completed, ...] = ()
    #: What it prints without a name, when one of these is run: nobody else can be asked to know it.
    anonymous: Mapping[str, Completed] = field(factory=dict)
    #: Environments of its jobs, or parts of them.
    jobs: tuple[Mapping[str, str], ...] = ()

    def answers_of(self, program: str) -> list[Completed]:
        """What must not be taken for another batch system's answer, if that was asked by running `program`."""
        return [*self.versions, *(answer for name, answer in self.anonymous.items() if name == program)]


def _said(*texts: str) -> tuple[Completed, ...]:
    return tuple(Completed(stdout=text) for text in texts)


_PBS_JOB = {
    "PBS_ENVIRONMENT": "PBS_BATCH",
    "PBS_JOBID": "77.srv",
    "PBS_JOBNAME": "tests",
    "PBS_NODEFILE": "/var/spool/pbs/aux/77.srv",
    "PBS_NODENUM": "0",
    "PBS_O_HOST": "login1",
    "PBS_O_WORKDIR": "/home/mary",
    "PBS_QUEUE": "batch",
    "PBS_TASKNUM": "1",
}
_TORQUE_JOB = {
    **_PBS_JOB,
    "PBS_NP": "4",
    "PBS_NUM_NODES": "2",
    "PBS_NUM_PPN": "2",
    "PBS_VERSION": "TORQUE-6.1.3",
    "PBS_VNODENUM": "0",
    "PBS_WALLTIME": "300",
}

OTHERS = (
    Other(
        title="Slurm",
        versions=_said("slurm-wlm 22.05.8\n", "slurm 23.11.4\n"),
        jobs=(
            {
                "SLURMD_NODENAME": "n1",
                "SLURM_CPUS_ON_NODE": "4",
                "SLURM_JOBID": "77",
                "SLURM_JOB_CPUS_PER_NODE": "4",
                "SLURM_JOB_ID": "77",
                "SLURM_JOB_NODELIST": "n1",
                "SLURM_MEM_PER_NODE": "1024",
                "SLURM_PROCID": "0",
            },
        ),
    ),
    Other(
        title="PBS",
        versions=_said("pbs_version = 23.06.06\n", "pbs_version = PBSPro_13.0.403\n"),
        jobs=({**_PBS_JOB, "ENVIRONMENT": "BATCH", "NCPUS": "4", "PBS_JOBDIR": "/home/mary"},),
    ),
    Other(
        title="TORQUE",
        anonymous={"qstat": Completed(stderr="Version: 6.1.3\nCommit: 91d5d6d4a25e9c9b6b3a5e4a\n")},
        jobs=(_TORQUE_JOB, {**_TORQUE_JOB, "PBS_ARRAYID": "5", "PBS_JOBID": "77[5].srv"}),
    ),
    Other(
        title="Moab",
        versions=_said("moab client version 9.1.3 (revision 2018040308, changeset 5a2bdcb)\n"),
        jobs=({**_TORQUE_JOB, "MOAB_JOBID": "Moab.77", "MOAB_JOBNAME": "tests", "MOAB_USER": "mary"},),
    ),
    Other(
        title="Grid Engine",
        versions=_said("SGE 8.1.9\nusage: qstat [options]\n", "UGE 8.6.18\nusage: qstat [options]\n"),
        jobs=(
            {
                "HOSTNAME": "n1",
                "JOB_ID": "77",
                "JOB_NAME": "tests",
                "NHOSTS": "1",
                "NSLOTS": "1",
                "QUEUE": "all.q",
                "SGE_ROOT": "/opt/sge",
                "SGE_TASK_ID": "undefined",
            },
        ),
    ),
    Other(
        title="LSF",
        versions=_said(
            "IBM Spectrum LSF Standard 10.1.0.0, Jul 08 2016\n\nMy cluster name is c1\nMy master name is n1\n",
            "OpenLava 4.0, Nov 25 2026\n\nMy cluster name is c1\nMy master name is n1\n",
        ),
        jobs=(
            {
                "LSB_HOSTS": "n1 n1",
                "LSB_JOBID": "77",
                "LSB_JOBINDEX": "0",
                "LSB_JOBNAME": "tests",
                "LSB_MCPU_HOSTS": "n1 2",
                "LSB_QUEUE": "normal",
                "LSF_ENVDIR": "/opt/lsf/conf",
            },
        ),
    ),
    Other(
        title="OAR",
        versions=_said("OAR version : 2.5.9 (Canicule)\n", "OAR version: 2.6.1 (Liberty hope)\n"),
        jobs=(
            {
                "OAR_JOBID": "77",
                "OAR_JOB_ID": "77",
                "OAR_JOB_WALLTIME_SECONDS": "300",
                "OAR_NODEFILE": "/var/lib/oar/77",
                "OAR_NODE_FILE": "/var/lib/oar/77",
            },
        ),
    ),
    Other(
        title="HTCondor",
        versions=_said("$CondorVersion: 23.9.6 2026-07-12 PackageID: 23.9.6 $\n$CondorPlatform: X86_64-Debian_13 $\n"),
        jobs=(
            {
                "BATCH_SYSTEM": "HTCondor",
                "_CONDOR_JOB_AD": "/var/lib/condor/execute/dir_77/.job.ad",
                "_CONDOR_MACHINE_AD": "/var/lib/condor/execute/dir_77/.machine.ad",
                "_CONDOR_SCRATCH_DIR": "/var/lib/condor/execute/dir_77",
                "_CONDOR_SLOT": "slot1_1",
            },
        ),
    ),
    Other(
        title="Flux",
        versions=_said("commands:    \t\t0.88.0\nlibflux-core:\t\t0.88.0\n"),
        anonymous={"flux": Completed(stdout="0.88.0\n")},
        jobs=(
            {"FLUX_JOB_ID": "f48LTU1Jo", "FLUX_JOB_SIZE": "1", "FLUX_TASK_RANK": "0", "FLUX_URI": "local:///run/1"},
            {"FLUX_ENCLOSING_ID": "f64hj2qAo", "FLUX_URI": "local:///run/1"},
        ),
    ),
    Other(
        title="the embedded queue",
        jobs=({"CORRAL_LOCAL_CORES": "1", "CORRAL_LOCAL_HOST": "n1", "CORRAL_LOCAL_JOB_ID": "77_0"},),
    ),
    Other(
        title="Task Spooler",
        versions=_said("Task Spooler v1.0.2 - a task queue system for the unix user.\nCopyright (C) 2007-2023\n"),
    ),
    Other(title="Cobalt", jobs=({"COBALT_JOBID": "77", "COBALT_NODEFILE": "/var/spool/cobalt/77", "JOBID": "77"},)),
    Other(
        title="LoadLeveler",
        jobs=({"LOADL_STEP_ID": "n1.77.0", "LOADL_HOSTFILE": "/var/spool/77", "LOADLBATCH": "yes"},),
    ),
    Other(title="Fujitsu TCS", jobs=({"PJM_JOBID": "77", "PJM_NODE": "2", "PJM_O_NODEINF": "/var/spool/77"},)),
    Other(
        title="a service that tests and builds",
        jobs=({"CI": "true", "BUILD_ID": "77", "CI_JOB_ID": "77", "JOB_ID": "77", "JOB_NAME": "tests"},),
    ),
)

#: What other programs print: each has a version of some kind, or says why not.
STRANGERS = (
    Completed(),
    Completed(stdout="\n"),
    Completed(stdout="GNU coreutils 9.1\nCopyright (C) 2022 Free Software Foundation, Inc.\n"),
    Completed(stderr="usage: [-abc] [--version] FILE 1.0\n"),
    Completed(stdout="no license server (27000@lic1) answers: error 77\n"),
    Completed(returncode=1, stderr="unrecognized option '--version' 1.0\n"),
    Completed(returncode=127, stderr="sh: 1: not found\n"),
)

#: On a login node.
LOGIN = {
    "HOME": "/home/mary",
    "HOSTNAME": "login1",
    "LANG": "C.UTF-8",
    "LOGNAME": "mary",
    "PATH": "/usr/bin:/bin",
    "SHELL": "/bin/bash",
    "SSH_CONNECTION": "10.0.0.1 50000 10.0.0.2 22",
    "TERM": "xterm",
    "USER": "mary",
}


def others_than(titles: Collection[str]) -> list[Other]:
    """All that are not called one of these."""
    mine = {title.lower() for title in titles}
    return [other for other in OTHERS if other.title.lower() not in mine]
