"""The command line: the only place that prints, exits, reads the home directory or sets signal handlers."""
