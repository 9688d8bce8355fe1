"""The peer that everything began with: a WebSocket server that encodes inside its handler.

One request, one `SentenceTransformer.encode` on the event loop, one reply of JSON numbers from `tolist()`. It
is what such a server looks like when it is written in an afternoon, kept here to be measured against.

Run: python -m benchmarks.seed_style_server PORT MODEL_FOLDER
"""

from __future__ import annotations

import asyncio
import json
import sys

from sentence_transformers import SentenceTransformer
from websockets.asyncio.server import ServerConnection, serve


async def main(port: int, folder: str) -> None:
    """Serve until killed."""
    model = SentenceTransformer(folder, device="cpu", local_files_only=True)

    async def handle(socket: ServerConnection) -> None:
        async for frame in socket:
            request = json.loads(frame)
            vector = model.encode(request["data"]["text"], show_progress_bar=False)
            await socket.send(json.dumps({"status": "success", "embeddings": vector.tolist()}))

    async with serve(handle, "127.0.0.1", port):
        print("ready", flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
