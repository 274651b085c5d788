"""A headless Chromium, driven by the DevTools protocol over two pipes.

    with Browser(need("chromium"), folder) as browser:
        tab = browser.tab("http://127.0.0.1:8080/")
        tab.choose("input", "photo.jpg")

Its commands: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import sys
import time
from typing import Any, Dict, List

# Chromium reads commands from descriptor 3, and writes to 4.
START = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])"""
OPTIONS = """--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run
--disable-background-networking --disable-component-update --disable-sync --no-proxy-server
--remote-debugging-pipe""".split()


class Browser:
    """One process with all its tabs; each tab has cookies and credentials of its own."""

    def __init__(self, program: str, folder) -> None:
        read, commands = os.pipe()
        self.answers, write = os.pipe()
        argv = [sys.executable, "-c", START, str(read), str(write), program, *OPTIONS]
        self.process = subprocess.Popen(
            [*argv, f"--user-data-dir={folder}", "about:blank"],
            pass_fds=(read, write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder)},
        )
        os.close(read)
        os.close(write)
        self.commands = os.fdopen(commands, "wb", 0)
        self.data, self.number = b"", 0
        self.events: List[Dict[str, Any]] = []

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_) -> None:
        self.commands.close()  # it ends then
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.answers)

    def message(self, seconds: float) -> Dict[str, Any]:
        end = time.monotonic() + seconds
        while b"\0" not in self.data:
            left = end - time.monotonic()
            ready, _, _ = select.select([self.answers], [], [], max(0, left))
            data = os.read(self.answers, 1 << 20) if ready else b""
            assert data, "the browser does not answer"
            self.data += data
        line, _, self.data = self.data.partition(b"\0")
        return json.loads(line)

    def call(self, method: str, session: str = "", **params) -> Dict[str, Any]:
        self.number += 1
        command = {"id": self.number, "method": method, "params": params}
        if session:
            command["sessionId"] = session
        self.commands.write(json.dumps(command).encode() + b"\0")
        while True:
            message = self.message(20)
            if message.get("id") == self.number:
                assert "error" not in message, (method, message)
                return message["result"]
            self.events.append(message)

    def tab(self, url: str, width: int = 1280, height: int = 900) -> "Tab":
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)
        tab = Tab(self, target["targetId"], context)
        tab.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        tab.open(url)
        return tab


class Tab:
    """A page: what a user sees and does there."""

    def __init__(self, browser: Browser, target: str, context: str) -> None:
        self.browser, self.context = browser, context
        attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Log"):
            self.call(f"{domain}.enable")
        self.documents = {self.call("Page.getFrameTree")["frameTree"]["frame"]["loaderId"]}
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def call(self, method: str, **params) -> Dict[str, Any]:
        return self.browser.call(method, self.session, **params)

    def open(self, url: str) -> None:
        if url != "about:blank":
            self.call("Page.navigate", url=url)
            self.loaded()

    def loaded(self) -> None:
        """Wait until another document has been loaded."""
        while True:
            for event in self.browser.events:
                params = event["params"]
                is_load = event.get("sessionId") == self.session and params.get("name") == "load"
                if is_load and params["loaderId"] not in self.documents:
                    self.documents.add(params["loaderId"])
                    return
            self.browser.events.append(self.browser.message(20))

    def js(self, expression: str) -> Any:
        """The value of an expression in the page, of a promise after it is resolved."""
        done = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def until(self, expression: str, seconds: float = 10) -> Any:
        """Wait until the expression is true."""
        end = time.monotonic() + seconds
        while True:
            value = self.js(expression)
            if value:
                return value
            assert time.monotonic() < end, (expression, self.text())
            time.sleep(0.02)

    def text(self) -> str:
        return self.js("document.body.innerText")

    def node(self, selector: str) -> int:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        return self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]

    def choose(self, selector: str, *paths) -> None:
        """Choose files in the dialog of an input."""
        files = [str(path) for path in paths]
        self.call("DOM.setFileInputFiles", nodeId=self.node(selector), files=files)

    def middle(self, selector: str) -> Dict[str, float]:
        node = self.node(selector)
        self.call("DOM.scrollIntoViewIfNeeded", nodeId=node)
        quad = self.call("DOM.getContentQuads", nodeId=node)["quads"][0]
        return {"x": sum(quad[0::2]) / 4, "y": sum(quad[1::2]) / 4}

    def click(self, selector: str) -> None:
        point = self.middle(selector)
        for event in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=event, button="left", clickCount=1, **point)

    def drop(self, selector: str, *paths) -> None:
        """Drag files from the desktop."""
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        point = self.middle(selector)
        for event in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=event, data=data, **point)

    def clipboard(self) -> str:
        """What was copied last; a page may read it only after the user agreed."""
        self.browser.call(
            "Browser.grantPermissions",
            browserContextId=self.context,
            permissions=["clipboardReadWrite", "clipboardSanitizedWrite"],
        )
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        return self.js("navigator.clipboard.readText()")

    def scheme(self, name: str) -> None:
        feature = {"name": "prefers-color-scheme", "value": name}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def without_script(self) -> None:
        self.call("Emulation.setScriptExecutionDisabled", value=True)

    def screenshot(self, path) -> None:
        data = self.call("Page.captureScreenshot", captureBeyondViewport=False)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def complaints(self) -> List[str]:
        """What the browser says in its console: errors of scripts, of the security policy, ..."""
        texts = []
        for event in self.browser.events:
            if event.get("sessionId") == self.session:
                params = event["params"]
                details = params.get("entry") or params.get("exceptionDetails") or {}
                texts += [details["text"]] if "text" in details else []
        return texts

    def close(self) -> None:
        self.browser.call("Target.disposeBrowserContext", browserContextId=self.context)
