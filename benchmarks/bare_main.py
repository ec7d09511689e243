"""The web server with an application that does nothing; says `ready` when it listens."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import uvicorn


async def application(_scope: Any, _receive: Any, send: Any) -> None:
    """Answers every request with nothing."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


class Server(uvicorn.Server):
    """uvicorn that says when it listens."""

    async def startup(self, sockets: Any = None) -> None:
        """Begins to listen."""
        await super().startup(sockets)
        print(json.dumps("ready"), flush=True)


if __name__ == "__main__":
    config = uvicorn.Config(application, port=0, lifespan="off", log_config=None)
    asyncio.run(Server(config).serve())
