"""What is known of jobs, and what to do next. Pure."""
