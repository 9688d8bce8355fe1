"""The inference server: embeddings over WebSocket and over an OpenAI-compatible HTTP door."""
