"""How the tests count a cluster's jobs, where a list also has those that have ended, or cannot be asked for names."""

from __future__ import annotations

from operators import OPERATORS

BY_BACKEND = {each.backend: each for each in OPERATORS}


def test_elements_that_have_ended_are_not_counted() -> None:
    """PBS lists them, as X, until their array has ended."""
    rows = [
        "Job Id: 34[].localhost|Job_Name=dask-6-1|Job_Owner=user@node01|job_state=B|queue=workq|array=True",
        "Job Id: 34[0].localhost|Job_Name=dask-6-1|Job_Owner=user@node01|job_state=R|array_id=34[].localhost",
        "Job Id: 34[1].localhost|Job_Name=dask-6-1|Job_Owner=user@node01|job_state=X|array_id=34[].localhost",
        "Job Id: 34[2].localhost|Job_Name=dask-6-1|Job_Owner=user@node01|job_state=Q|array_id=34[].localhost",
        "Job Id: 35[0].localhost|Job_Name=other-1|Job_Owner=user@node01|job_state=R|array_id=35[].localhost",
    ]
    assert BY_BACKEND["pbs"].count_in("\n".join(rows), "dask-6") == 2


def test_openlava_lists_in_a_table() -> None:
    """It has no list of names alone."""
    table = (
        "JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME\n"
        "322     user    RUN   normal     node01      node01      dask-6-1[1] Nov 28 17:14\n"
        "322     user    PEND  normal     node01         -        dask-6-1[2] Nov 28 17:14\n"
        "323     user    RUN   normal     node01      node01      other-1[1] Nov 28 17:14\n"
    )
    assert BY_BACKEND["lsf"].count_in(table, "dask-6") == 2
