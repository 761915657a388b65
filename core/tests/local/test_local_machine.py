"""What a process may use, and where a queue may live, on machines of all kinds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corral.host.machine import is_on_network, measure
from corral.local import database
from corral.local.database import default_directory

WHOLE = 64, 256 * 2**30


class Machine:
    """A machine whose /proc and control groups are files in a folder."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(WHOLE[0]))
        pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": WHOLE[1] // 4096}
        monkeypatch.setattr(os, "sysconf", pages.__getitem__)

    def put(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def measured(self) -> tuple[int, int]:
        capacity = measure(self.root / "proc")
        return capacity.cores, capacity.memory


@pytest.fixture
def this(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def _mount(root: Path, group: str, folder: str, kind: str, options: str = "rw") -> str:
    return f"42 31 0:39 {group} {root / folder} rw,nosuid - {kind} {kind} {options}\n"


def test_a_machine_without_limits_is_used_as_a_whole(this: Machine) -> None:
    """Every core that affinity leaves, and all memory."""
    assert this.measured() == WHOLE


def test_the_control_groups_of_a_login_node_count(this: Machine) -> None:
    """Version 2: the limits of the session and of every slice above it; the least of them counts."""
    this.put("proc/self/cgroup", "0::/user.slice/user-7.slice/session-1.scope\n")
    this.put("proc/self/mountinfo", _mount(this.root, "/", "cgroup", "cgroup2"))
    this.put("cgroup/user.slice/cpu.max", "3200000 100000\n")
    this.put("cgroup/user.slice/user-7.slice/cpu.max", "450000 100000\n")
    this.put("cgroup/user.slice/user-7.slice/memory.max", f"{16 * 2**30}\n")
    this.put("cgroup/user.slice/user-7.slice/session-1.scope/cpu.max", "max 100000\n")
    this.put("cgroup/user.slice/user-7.slice/session-1.scope/memory.max", "max\n")
    assert this.measured() == (4, 16 * 2**30)


def test_old_control_groups_count(this: Machine) -> None:
    """Version 1: one hierarchy for cpu, one for memory; -1 and a huge number mean no limit."""
    this.put("proc/self/cgroup", "4:memory:/jobs/5\n2:cpu,cpuacct:/jobs/5\n1:name=systemd:/x\n0::/\n")
    this.put(
        "proc/self/mountinfo",
        _mount(this.root, "/", "cpu", "cgroup", "rw,cpu,cpuacct")
        + _mount(this.root, "/", "mem", "cgroup", "rw,memory"),
    )
    this.put("cpu/jobs/5/cpu.cfs_quota_us", "200000\n")
    this.put("cpu/jobs/5/cpu.cfs_period_us", "50000\n")
    this.put("cpu/jobs/cpu.cfs_quota_us", "-1\n")
    this.put("mem/jobs/5/memory.limit_in_bytes", "9223372036854771712\n")
    this.put("mem/jobs/memory.limit_in_bytes", "1000000000\n")
    assert this.measured() == (4, 1000000000)


def test_inside_a_container_the_mount_begins_at_its_own_group(this: Machine) -> None:
    """The group's path names what is outside; what the container sees is the mount's root."""
    this.put("proc/self/cgroup", "4:memory:/docker/abc\n3:cpu:/docker/abc\n")
    this.put(
        "proc/self/mountinfo",
        _mount(this.root, "/docker/abc", "mem", "cgroup", "rw,memory")
        + _mount(this.root, "/docker/abc", "cpu", "cgroup", "rw,cpu"),
    )
    this.put("mem/memory.limit_in_bytes", "2000000000\n")
    this.put("cpu/cpu.cfs_quota_us", "150000\n")
    assert this.measured() == (1, 2000000000)


def test_less_than_one_core_is_one(this: Machine) -> None:
    """A job needs one."""
    this.put("proc/self/cgroup", "0::/\n")
    this.put("proc/self/mountinfo", _mount(this.root, "/", "cgroup", "cgroup2"))
    this.put("cgroup/cpu.max", "50000 100000\n")
    assert this.measured() == (1, WHOLE[1])


def test_affinity_counts(this: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``taskset`` or an enclosing job sets it."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert this.measured() == (2, WHOLE[1])


def test_the_gpus_of_an_enclosing_job_are_the_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA_VISIBLE_DEVICES limits them, down to none."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert measure().devices == ("2", "3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert measure().devices == ()


def test_this_machine_can_be_measured() -> None:
    """Whatever it is."""
    capacity = measure()
    assert 1 <= capacity.cores <= (os.cpu_count() or 1)
    assert capacity.memory > 2**20


MOUNTS = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 22 0:40 / /home rw,relatime shared:9 - nfs4 server:/home rw,vers=4.2
41 40 0:41 / /home/me/.local rw shared:10 - xfs /dev/vdb rw
43 22 0:43 / /scratch rw,relatime - lustre 10.0.0.1@tcp:/scratch rw
44 22 0:44 / /with\\040blank rw,relatime - fuse.sshfs me@there: rw
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/var/tmp", False),
        ("/home/me", True),
        ("/home/me/.local/state/corral", False),
        ("/homes", False),
        ("/scratch/me/queue", True),
        ("/with blank/queue", True),
    ],
)
def test_network_file_systems_are_known(path: str, expected: bool, tmp_path: Path) -> None:
    """By the mount that a path is on, which need not exist yet."""
    (tmp_path / "mountinfo").write_text(MOUNTS)
    assert is_on_network(Path(path), tmp_path / "mountinfo") is expected


def test_the_default_queue_is_in_the_state_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One per host, since homes are shared; XDG_STATE_HOME counts."""
    monkeypatch.setattr(database, "is_on_network", lambda _: False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "corral" / "local" / os.uname().nodename
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_directory() == Path("/home/me/.local/state/corral/local") / os.uname().nodename


def test_the_default_queue_is_never_on_a_network_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in a folder of the user's own below /var/tmp then."""
    monkeypatch.setattr(database, "is_on_network", lambda _: True)
    assert default_directory() == Path(f"/var/tmp/corral-{os.getuid()}-{os.uname().nodename}")
