"""One module per verb; each exposes `command` and is imported only when its verb is called."""
