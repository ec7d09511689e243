"""An open page, the server behind it and the shell that edits the database from outside."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx
from playwright.sync_api import ConsoleMessage, Dialog, Locator, Page, expect

from tests.served import Served

# Chromium says this by itself while no server listens; a page cannot keep it from doing so.
_REFUSED = re.compile(
    r"WebSocket connection to '[^']*' failed|Failed to load resource: net::ERR_CONNECTION_"
)
_STATUS = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")
_GOING = re.compile("DROP TABLE|RENAME TO")

# The list is drawn a few changesets in each frame. Whether all that is held is there, so that it
# makes up the sum with what is said of the rest.
ACCOUNTED = """sum => {
  const said = [...document.querySelectorAll(".remainder:not([hidden])")]
    .map(({ textContent }) => parseInt(textContent.replaceAll(",", "")));
  const drawn = document.querySelectorAll("#feed .change").length;
  return drawn + said.reduce((one, other) => one + other, 0) === sum;
}"""


class Watch(Protocol):
    """Serves a database and opens its page."""

    def __call__(
        self,
        *options: str,
        setup: str = "",
        demo: bool = False,
        live: bool = True,
        clock: bool = False,
        width: int = 1100,
    ) -> Watched: ...


@dataclass
class Watched:
    """The page of a served database, and everything it should not have said.

    Args:
        page: the page, not yet opened.
        served: the server.
        shell: path of the `sqlite3` command.
        complaints: console errors and warnings, uncaught errors and dialogs, in order.
        sockets: addresses of the WebSockets it opened, in order.
        refusals: statuses of answers that the page is meant to get and to explain; Chromium notes
            them by itself.
    """

    page: Page
    served: Served
    shell: Path
    complaints: list[str] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)
    refusals: set[int] = field(default_factory=set)

    def open(self) -> None:
        """Opens the page and from then on notes what it says."""
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("websocket", lambda socket: self.sockets.append(socket.url))
        self.page.goto(f"{self.served.url}/")

    def beside(self, script: str = "") -> Watched:
        """Opens the page in a further tab of the same browser.

        Args:
            script: runs in the tab before anything of the page does.
        """
        page = self.page.context.new_page()
        if script:
            page.add_init_script(script)
        tab = Watched(page, self.served, self.shell, self.complaints, self.sockets)
        tab.open()
        return tab

    def edit(self, sql: str) -> None:
        """Runs SQL on the database in the `sqlite3` shell.

        Of a table that goes, or gets another name, something may be asked at this very moment.
        """
        if _GOING.search(sql):
            self.refusals.add(404)
        run_shell(self.shell, self.served.database, sql)

    def forgive(self, text: str) -> None:
        """Forgets complaints with this text: Chromium's remarks on answers that were expected."""
        self.complaints[:] = [said for said in self.complaints if text not in said]

    @property
    def newest(self) -> Locator:
        """The changeset on top."""
        return self.page.locator("#feed > .changeset").first

    def cell(self, scope: Locator, column: str) -> Locator:
        """What stands beside the name of a column."""
        label = self.page.locator("dt").get_by_text(column, exact=True)
        return scope.locator(".field").filter(has=label).locator("dd")

    def expect_live(self) -> None:
        """Waits until the page says that it shows the present."""
        expect(self.page.locator("#connection")).to_have_text("Live")

    def expect_changes(self, count: str) -> None:
        """Waits until the page has counted this many changes, such as `2,000 changes`."""
        expect(self.page.locator("#changes")).to_have_text(count)

    def position(self) -> str:
        """Waits until the page says that it stands where the service does, and tells where."""
        health = httpx.get(f"{self.served.url}/health").raise_for_status().json()
        expect(self.page.locator("#position")).to_have_text(health["position"])
        return str(health["position"])

    def _console(self, message: ConsoleMessage) -> None:
        status = _STATUS.search(message.text)
        if status and int(status[1]) in self.refusals:
            return
        if message.type in {"error", "warning"} and not _REFUSED.search(message.text):
            self.complaints.append(f"console: {message.text}")

    def _dialog(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()


def run_shell(shell: Path, database: Path, sql: str) -> None:
    """Runs SQL on a file in the `sqlite3` shell and sees that it had nothing to object."""
    done = subprocess.run(
        [shell, "-bail", database],
        input=f".timeout 5000\n{sql}\n",
        text=True,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
