"""The durable truth behind the memory server: one `Store` protocol and its implementations."""
