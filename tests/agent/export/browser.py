"""A headless Chromium over the WebDriver protocol (w3.org/TR/webdriver2), without a client library."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MISSING = None if CHROMIUM and DRIVER else "needs chromium and chromedriver (Debian: chromium, chromium-driver)"


class Browser:
    """One session; the network is cut off but for the driver."""

    def __init__(self, profile: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.base = f"http://127.0.0.1:{port}"
        self.driver = subprocess.Popen(
            [DRIVER, f"--port={port}", "--silent"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(profile)},
        )
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        arguments += [f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND"]
        options = {"args": arguments, "binary": CHROMIUM}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        until = time.monotonic() + 30
        while True:
            try:
                found = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
        self.base += f"/session/{found['sessionId']}"

    def call(self, method: str, path: str, body: dict | None = None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def tool(self, command: str, **parameters):
        """A command of Chrome's own protocol."""
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, page: Path, width: int = 1200, dark: bool = False) -> None:
        self.tool(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.tool("Emulation.setEmulatedMedia", features=[scheme])
        self.call("POST", "/url", {"url": page.as_uri()})

    def ask(self, script: str):
        """What a script returns in the page."""
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def until(self, script: str, wanted):
        """What a script returns in the page, asked until it is `wanted`, 30 s at most: charts are drawn anew after a
        change of the window."""
        end = time.monotonic() + 30.0
        while (found := self.ask(script)) != wanted and time.monotonic() < end:
            time.sleep(0.1)
        return found

    def log(self) -> list[str]:
        """Messages of the console since the last call."""
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})]

    def shoot(self, path: Path) -> None:
        """The whole page as a picture."""
        found = self.tool("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        self.call("DELETE", "")
        self.driver.terminate()
        self.driver.wait(10)
