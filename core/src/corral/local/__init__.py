"""The embedded batch system: a real queue for one machine, first in first out by cores, memory and GPUs.

It talks to the core through commands (``python -m corral.local submit``), like every other batch system, and has
three kinds of process:

- *commands* write wishes into the queue, an SQLite database, wake the dispatcher, or start one if none listens;
- one *dispatcher* per queue starts the jobs that fit and writes down how they ended. It leaves when there is nothing
  left to do, and its death ends no job;
- one *supervisor* per running job is the parent of the job's script. It alone knows how the script ended, so it
  must outlive the dispatcher: that is why the two are not one process. It enforces the walltime, ends what the
  script left behind, and keeps a small record file instead of talking to the database.

What holds when any of them is killed at any moment, and by what means:

- *No job is lost.* It is in the database before ``submit`` answers; whoever finds work and no dispatcher starts one.
- *No job is started twice.* The dispatcher marks a job RUNNING, then forks its supervisor. The supervisor shares the
  dispatcher's lock until its record exists, and starts nothing before. So the next dispatcher, which needs that lock,
  finds either a record, or proof that nothing was started.
- *No dead supervisor is taken for a living one.* A supervisor locks its record for life. No process number is
  trusted, and a restart of the machine releases locks too.
- *No job outlives its supervisor.* The kernel kills the script with it; the dispatcher ends the rest by session and
  by the job's variables.

Cores, memory and GPUs are counted, not enforced: a job that takes more than it asked for is not stopped. On a network
file system the locks above and SQLite's own cannot be trusted, so the default queue is on a local one (`machine`).

This package runs at each command and in each supervisor: it uses the standard library alone, `plugin` excepted.
"""
