"""A headless Chromium that a test looks at a page with: its own debugging protocol, over two pipes.

https://chromedevtools.github.io/devtools-protocol says what each method does.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

AXE = "axe-core@4.14.1"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_S = 60


class Page:
    """One tab, with all that was logged and asked for in it."""

    def __init__(self, process: subprocess.Popen, sending: int, receiving: int) -> None:
        self._process, self._sending, self._receiving = process, sending, receiving
        self._number, self._unread, self._session = 0, b"", None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._sending, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while b"\0" not in self._unread:
            readable, _, _ = select.select([self._receiving], [], [], deadline - time.monotonic())
            assert readable, "the browser does not answer"
            read = os.read(self._receiving, 2**20)
            assert read, "the browser has ended"
            self._unread += read
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)

    def open(self, path: Path) -> None:
        """Only what happens from here on is in ``events``."""
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(each.get("method") == "Page.loadEventFired" for each in self.events):
            self.events.append(self._read())

    def evaluate(self, expression: str) -> Any:
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def theme(self, name: str) -> None:
        """As the system prefers it."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def press(self, key: str, code: int) -> None:
        text = {"Enter": "\r"}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                text=text if kind == "keyDown" else "",
            )

    def size(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def picture(self, *, whole: bool = True) -> bytes:
        """A PNG."""
        taken = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        return base64.b64decode(taken["data"])

    def pdf(self) -> bytes:
        made = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        return base64.b64decode(made["data"])

    def serious_findings(self, axe: str) -> list[str]:
        """Of the accessibility checker that ``fetch_axe`` gives: which rule, and where."""
        self.evaluate(axe + ";0")
        found = json.loads(self.evaluate("axe.run().then((all) => JSON.stringify(all.violations))"))
        return [
            f"{each['id']}: {each['nodes'][0]['html']}"
            for each in found
            if each["impact"] in ("serious", "critical")
        ]

    @property
    def complaints(self) -> list[str]:
        """All that its console and its log hold, uncaught errors and refusals by its policy too."""
        named = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(each["params"]) for each in self.events if each.get("method") in named]

    @property
    def requests(self) -> list[str]:
        return [
            each["params"]["request"]["url"]
            for each in self.events
            if each.get("method") == "Network.requestWillBeSent"
        ]


def fetch_axe(directory: Path) -> str:
    """The checker's script. Raises ``pytest.skip`` where npm does not give it."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    packed = subprocess.run(
        ["npm", "pack", "--silent", AXE], cwd=directory, capture_output=True, text=True, timeout=60
    )
    if packed.returncode:
        pytest.skip(f"needs {AXE}, which npm does not give: {packed.stderr[-200:]}")
    shutil.unpack_archive(directory / packed.stdout.strip(), directory)
    return (directory / "package/axe.min.js").read_text("utf-8")


@contextmanager
def running_browser(directory: Path) -> Iterator[Page]:
    """``directory`` is for its profile. There is no sandbox, which root cannot have."""
    assert CHROMIUM is not None
    its_input, sending = os.pipe()
    receiving, its_output = os.pipe()

    def place() -> None:
        # The protocol's own places; what was there may be either of these.
        read, write = os.dup(its_input), os.dup(its_output)
        os.dup2(read, 3)
        os.dup2(write, 4)

    process = subprocess.Popen(
        [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--hide-scrollbars",
            "--remote-debugging-pipe",
            f"--user-data-dir={directory}",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(3, 4, its_input, its_output),
        preexec_fn=place,
    )
    os.close(its_input)
    os.close(its_output)
    try:
        yield Page(process, sending, receiving)
    finally:
        os.close(sending)
        process.terminate()
        process.wait(30)
        os.close(receiving)
