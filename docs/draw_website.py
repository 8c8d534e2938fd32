"""Draws docs/website-*.png: pages of the website as headless Chromium shows them, on the twin bench.

python docs/draw_website.py [DIRECTORY]
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from bench import inventory
from bench.bench import Bench
from bench.browsing import Browsing

DOCS = Path(__file__).resolve().parent
BENCH = DOCS.parent / "inventory" / "benches" / "twin.yaml"
CARD = {"number": "4000000000000000", "expiry": "12/29"}


def _size(browsing: Browsing, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browsing.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def draw(directory: Path) -> None:
    """A representative takes a payment, the customer looks at their account: at a desk, and on a phone in Spanish."""
    with Bench(inventory.load(BENCH)) as bench:
        customer = bench.config.utility.customers[0]
        account = customer.accounts[0].number
        assert bench.website is not None
        assert bench.config.utility.website is not None
        desk = bench.config.utility.website.representatives[0].login
        browsing = Browsing(
            bench.website,
            let_pass=bench.advance,
            save=lambda name, picture: (directory / name.partition("-")[2]).write_bytes(picture),
        )
        try:
            _size(browsing, 1000, 1020)
            browsing.sign_in(desk, bench.password(desk))
            request = browsing.log_request(account, customer.name, customer.address)
            browsing.identify(request, customer.credential)
            browsing.estimate(request, account)
            browsing.picture("website-estimate")
            browsing.pay(request, account, 4_000, "card", CARD, "disconnect")
            bench.advance(timedelta(hours=30).total_seconds())
            browsing.sign_in(customer.id, bench.password(customer.id))
            _size(browsing, 390, 844)
            browsing.read_account(account)
            browsing.picture("website-phone")
            _size(browsing, 1000, 1020)
            browsing.press("language")
            browsing.read_account(account)
            browsing.picture("website-account")
        finally:
            browsing.close()


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS)
