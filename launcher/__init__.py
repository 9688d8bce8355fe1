"""Supervisor and command line of lucid-launch; the version and nothing else, so that light verbs start fast."""

__version__ = "0.1.0"
