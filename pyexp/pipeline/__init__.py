"""What to run and why: stages, their order, their staleness, and their results."""
