"""Supervisor and command line of lucid-launch; only the version here, so that light verbs start fast."""

__version__ = "0.1.0"
