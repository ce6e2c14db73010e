"""A shop with dsn-sync's interface: products, carts and orders, and not one route.

$ python backend.py                # prints the address of the page

The stock is the shop's own, in a database of its own: what pages see of it is told with `sync`.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import threading
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

from reunite.dropin.dsn_sync import DSNSync

HERE = Path(__file__).parent
PRODUCTS = {
    "prod_001": {"name": "Laptop", "price": 999.99, "stock": 2},
    "prod_002": {"name": "Mouse", "price": 19.99, "stock": 40},
}


class Stock:
    """How many there are of each product."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with closing(sqlite3.connect(file)) as db, db:
            db.execute("create table if not exists stock (product text primary key, count integer)")
            for product, about in PRODUCTS.items():
                db.execute("insert or ignore into stock values (?, ?)", (product, about["stock"]))

    def take(self, items: list[str]) -> bool:
        """Take one of each, or nothing."""
        with closing(sqlite3.connect(self._file)) as db, db:
            for product in items:
                taken = db.execute(
                    "update stock set count = count - 1 where product = ? and count > 0", (product,)
                )
                if taken.rowcount == 0:
                    db.rollback()
                    return False
        return True

    def counts(self) -> dict[str, int]:
        with closing(sqlite3.connect(self._file)) as db:
            return dict(db.execute("select product, count from stock"))


def open_shop(sync: DSNSync, stock: Stock) -> None:
    sync.define_table(
        "products", {"key": "product_id", "fields": ["name", "price", "stock", "image"]}
    )
    sync.define_table("cart", {"key": "user_id", "fields": ["items", "total"]})
    sync.define_table(
        "orders",
        {"key": "order_id", "fields": ["user_id", "items", "total", "status", "timestamp"]},
    )

    def tell_stock() -> None:
        for product, count in stock.counts().items():
            sync.sync("products", product, {"stock": count})

    @sync.on_create("orders")
    def take_order(data: dict) -> bool:
        if not data.get("items") or not stock.take(data["items"]):
            return False
        tell_stock()
        sync.sync("orders", data["order_id"], {"status": "confirmed"})
        return True

    for product, about in PRODUCTS.items():
        sync.sync("products", product, about)
    tell_stock()


def main() -> None:
    parser = argparse.ArgumentParser(description="A shop without routes.")
    parser.add_argument("--port", type=int, default=3000, help="of the sync; 0 takes a free one")
    parser.add_argument("--page-port", type=int, default=8080)
    options = parser.parse_args()
    # Both are on this machine; between machines, leave `tls` as it is.
    sync = DSNSync(options.port, tls="off")
    open_shop(sync, Stock(Path("shop.db")))
    if not sync.start():
        sys.exit(sync.last_error)
    pages = ThreadingHTTPServer(
        ("127.0.0.1", options.page_port), partial(Pages, directory=str(HERE))
    )
    asked = urlencode({"url": sync.get_url(), "token": sync.get_token()})
    # What follows the # stays in the browser.
    print(f"http://localhost:{pages.server_port}/page.html#{asked}", flush=True)
    thread = threading.Thread(target=pages.serve_forever, daemon=True)
    thread.start()
    try:
        while thread.is_alive():  # Ctrl-C is heard in between
            thread.join(timeout=1)
    except KeyboardInterrupt:
        pages.shutdown()
        pages.server_close()
        sync.close()


class Pages(SimpleHTTPRequestHandler):
    """The page alone, without a line on the terminal for each request."""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] == "/page.html":
            super().do_GET()
        else:
            self.send_error(404)

    def log_message(self, *words: object) -> None:
        pass


if __name__ == "__main__":
    main()
