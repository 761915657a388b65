"""What corral relies on of this host: its clock, limits and capacity, and files that are the user's alone."""
