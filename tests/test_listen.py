"""The sockets that are served on."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

from watcher.cli.listen import Listener


def test_what_is_written_is_sent_at_once() -> None:
    """Connections do not collect small writes until the client has acknowledged the one before."""
    assert asyncio.run(_no_delay_of_accepted()) == 1


async def _no_delay_of_accepted() -> int:
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        accepted.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with closing(Listener("127.0.0.1", 0, private=True)) as listener:
        async with await asyncio.start_server(answer, sock=listener.sockets[0]):
            _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            found = await accepted
            writer.close()
            await writer.wait_closed()
            return found
