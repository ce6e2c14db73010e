"""The shop on dsn-sync's interface: two buyers, two laptops, three orders."""

from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2

from tests.dropin.dsn_sync_world import Page
from tests.integration.test_examples import EXAMPLES, Program
from tests.patience import DEADLINE_S


def test_the_shop_sells_what_it_has_and_no_more(tmp_path: Path) -> None:
    shop = Program(
        tmp_path,
        EXAMPLES / "dsn_sync_shop" / "backend.py",
        *("--port", "0", "--page-port", "0"),
        environment={"PYTHONUNBUFFERED": "1"},
    )
    try:
        address = urlsplit(shop.until_match(r"(http://localhost:\d+/page.html#\S+)"))
        asked = {name: values[0] for name, values in parse_qs(address.fragment).items()}
        page = httpx2.get(f"http://127.0.0.1:{address.port}/page.html", timeout=DEADLINE_S)
        assert "connectDSN" in page.text
        hidden = httpx2.get(f"http://127.0.0.1:{address.port}/backend.py", timeout=DEADLINE_S)
        assert hidden.status_code == 404
        with (
            closing(Page(tmp_path / "a.db", **asked)) as ada,
            closing(Page(tmp_path / "b.db", **asked)) as ben,
        ):
            laptop = {"user_id": "ada", "items": ["prod_001"], "total": 999.99, "status": "pending"}
            assert ada.create("orders", "o1", laptop)
            assert ben.create("orders", "o2", {**laptop, "user_id": "ben"})
            assert not ada.create("orders", "o3", {**laptop, "items": ["prod_002", "prod_001"]})
            products = ada.get_all("products")
            assert {key: product["stock"] for key, product in products.items()} == {
                "prod_001": 0,
                "prod_002": 40,
            }
            assert products["prod_001"]["name"] == "Laptop"
            orders = ben.get_all("orders")
            assert {key: order["status"] for key, order in orders.items()} == {
                "o1": "confirmed",
                "o2": "confirmed",
            }
    finally:
        shop.end()
    assert shop.process.returncode == 0, shop.lines
