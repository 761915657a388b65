-- What a site's plugin in slurmctld does: says something on standard error, and refuses in words of its own. Only about
-- jobs that ask for it by their comment: others are refused for other reasons, whose words tests compare.

function slurm_job_submit(job, partitions, uid)
    if job.comment == nil or not string.find(job.comment, "^site:") then
        return slurm.SUCCESS
    end
    slurm.log_user("Welcome. Your project has 100 core-hours left.")
    if job.comment == "site:refuse" then
        slurm.log_user("Projects end in November: ask the help desk for another.")
        return slurm.ERROR
    end
    return slurm.SUCCESS
end

function slurm_job_modify(job, record, partitions, uid)
    return slurm.SUCCESS
end
