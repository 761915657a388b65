-- What a site's filter in sbatch does: prints on standard output before the answer, with numbers.

function slurm_cli_setup_defaults(options, is_early)
    return slurm.SUCCESS
end

function slurm_cli_pre_submit(options, offset)
    if options["type"] == "sbatch" then
        print("2 of 3 file systems are up.")
    end
    return slurm.SUCCESS
end

function slurm_cli_post_submit(offset, job_id, step_id)
    return slurm.SUCCESS
end
