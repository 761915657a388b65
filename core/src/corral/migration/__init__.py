"""Programs, configuration and job scripts that were written for other tools, in corral's words."""
