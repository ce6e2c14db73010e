"""Serve the demos: `python examples/web`; `make run` also tells `reunite demo` in the terminal.

$ python examples/web --port 8080 --folder demo
$ python examples/web --story          # with the story of `reunite demo` in the terminal
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
import threading
import webbrowser
from pathlib import Path

import uvicorn
from backend import demos

from reunite.cli.demo import tell
from reunite.errors import CallerError
from reunite.interrupts import terminable, wait_for_interrupt
from reunite.server.embedding import listen, url_of


def main() -> None:
    options = arguments()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        stack.enter_context(terminable())
        try:
            app = stack.enter_context(demos(options.folder))
            listener = stack.enter_context(listening(options.port))
        except (CallerError, FileNotFoundError) as error:
            sys.exit(str(error))
        url = stack.enter_context(serving(app, listener))
        where = f"Two devices, in your browser: {url}/\nThe hub's console: {app.state.console(url)}"
        print(where, flush=True)
        if options.open and can_open():
            webbrowser.open(url)
        if options.story:
            try:
                tell(options.folder, small=options.small, elsewhere=where)
            except CallerError as error:
                sys.exit(str(error))
        else:
            wait_for_interrupt()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="examples/web", description="Demos for the browser.")
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where the data goes")
    parser.add_argument("--port", type=int, default=8080, help="0, or one in use: any free one")
    parser.add_argument("--story", action="store_true", help="tell the story of `reunite demo`")
    parser.add_argument("--small", action="store_true", help="of the story: less data")
    parser.add_argument("--open", action="store_true", help="open a browser, if there is one")
    return parser.parse_args()


def can_open() -> bool:
    """Whether there is a screen for a browser."""
    return sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def listening(port: int) -> socket.socket:
    try:
        return listen("127.0.0.1", port)
    except CallerError:
        return listen("127.0.0.1", 0)


@contextlib.contextmanager
def serving(app, listener: socket.socket):
    """Serve in a thread; requests under way end first."""
    config = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield url_of(listener)
    finally:
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    main()
