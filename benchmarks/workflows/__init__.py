"""Whole commands beside DVC's and beside what the machine itself takes: ``make bench``."""
