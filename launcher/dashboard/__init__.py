"""The live dashboard: a client of the control socket that draws from snapshots and log files only."""
