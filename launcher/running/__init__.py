"""The running stack: who may change it, in which order, and who is told."""
