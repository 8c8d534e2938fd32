"""A town with a website: two customers, a representative, and a browser without a picture (httpx) for each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any

import argon2
import httpx
import pytest

from tests.conftest import LoopThread
from tests.utility.conftest import ACCOUNT, METER, Town
from twins.utility.web import Server, serve
from twins.utility.website.forms import LONGEST_SENT

PASSWORDS = {"C-1": "punched cards", "C-2": "moonlight sonata", "desk-1": "front office"}
# Checked in no time: these tests are about what comes after.
_QUICK = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
HASHES = {login: _QUICK.hash(password) for login, password in PASSWORDS.items()}
OTHER = "B-7"
OTHER_METER = "TB-000002"

DESK = {"login": "desk-1", "name": "Grace at desk 1", "password_hash": HASHES["desk-1"]}
CUSTOMERS = [
    {
        "id": "C-1",
        "password_hash": HASHES["C-1"],
        "name": "Ada Byron",
        "address": "7 Elm Street, Springfield",
        "credential": "analytical engine",
        "accounts": [
            {
                "number": ACCOUNT,
                "meter_id": METER,
                "service_address": "7 Elm Street",
                "at_zero": "limit",
                "bill_cycle_day": 15,
                "history": {"days": 40, "by_hour_wh": [500.0] * 24, "spread": 0.0},
            }
        ],
    },
    {
        "id": "C-2",
        "password_hash": HASHES["C-2"],
        "name": "Clara Wieck <b>",
        "address": "3 Oak Avenue, Springfield",
        "credential": "kinderszenen",
        "language": "es",
        "accounts": [
            {
                "number": OTHER,
                "meter_id": OTHER_METER,
                "service_address": "3 Oak Avenue",
                "opening_balance_cents": 777_777,
                "history": {"days": 3},
            }
        ],
    },
]


class Visitor:
    """A browser without scripts: follows redirects, keeps cookies, sends forms as they stand on the page."""

    def __init__(self, address: str, **headers: str) -> None:
        self.http = httpx.Client(base_url=address, follow_redirects=True, headers=headers, timeout=20)
        self.last: httpx.Response

    def get(self, path: str) -> str:
        """Open a page; its text."""
        self.last = self.http.get(path)
        return self.last.text

    def post(self, path: str, **fields: str) -> str:
        """Send a form with this visitor's own token."""
        token = fields.pop("token", None) or self.token
        self.last = self.http.post(path, data={"token": token, **fields})
        return self.last.text

    @property
    def token(self) -> str:
        """The token of this visitor's forms."""
        found = re.search(r'name="token" value="([0-9a-f]+)"', self.http.get("/sign-in").text)
        assert found
        return found[1]

    def sign_in(self, login: str, password: str | None = None) -> str:
        """Sign in; the page that comes."""
        return self.post("/sign-in", login=login, password=password or PASSWORDS.get(login, "nothing at all"))

    def field(self, name: str) -> str:
        """The text of a field of the last page; empty where there is none."""
        found = re.search(rf'data-field="{name}"[^>]*>(.*?)</(?:dd|p|span|small|h1|h2)>', self.last.text, re.DOTALL)
        return unescape(re.sub(r"<[^>]+>", "", found[1])).strip() if found else ""

    def hidden(self, name: str) -> str:
        """The value of a hidden field of the last page."""
        found = re.search(rf'name="{name}" value="([^"]*)"', self.last.text)
        assert found, name
        return unescape(found[1])


class WebTown:
    """A town, and its website served."""

    def __init__(self, town: Town, server: Server) -> None:
        self.town = town
        self.server = server
        self.visitors: list[Visitor] = []

    def visitor(self, login: str = "", **headers: str) -> Visitor:
        """Somebody at the website, signed in if a login is given."""
        visitor = Visitor(self.server.address, **headers)
        self.visitors.append(visitor)
        if login:
            visitor.sign_in(login)
            assert visitor.last.status_code == 200, visitor.last.text
        return visitor

    def asks(self, visitor: Visitor, account: str = ACCOUNT) -> str:
        """A customer asks to prepay; the path of their request, its page the last one."""
        visitor.post(f"/accounts/{account}/prepay", ends_at="")
        assert visitor.last.status_code == 200, visitor.last.text
        return visitor.last.url.path

    def pays(self, visitor: Visitor, cents: int = 5_000, **changes: str) -> str:
        """A customer pays by card from the page of a request; the path of the payment."""
        path = visitor.last.url.path
        fields = {
            "payment": visitor.hidden("payment"),
            "method": "card",
            "amount": f"{cents / 100:.2f}",
            "data_number": "4111111111111111",
            "data_expiry": "12/29",
            **changes,
        }
        visitor.post(f"{path}/pay", **fields)
        return visitor.last.url.path

    def balance(self, account: str = ACCOUNT) -> int:
        """The balance by the ledger."""
        return int(self.town.ask(self.town.utility.css.balance_cents, account))


@pytest.fixture
def web_town(site_loop: LoopThread, new_database: Callable[[], str]) -> Iterator[Callable[..., WebTown]]:
    """Makes towns with a website and takes them down."""
    made: list[WebTown] = []

    def make(*defects: str, **changes: Any) -> WebTown:
        website = {"representatives": [DESK], **changes.pop("website", {})}
        town = Town(
            site_loop,
            *defects,
            customers=changes.pop("customers", CUSTOMERS),
            website=website,
            also=[OTHER_METER],
            url=changes.pop("url", None) or new_database(),
            passwords=changes.pop("passwords", None),
            **changes,
        )
        assert town.utility.website is not None
        app = town.utility.website.app
        server = site_loop.run(serve(app, "127.0.0.1", 0, town.clock, longest_body=LONGEST_SENT))
        made.append(WebTown(town, server))
        return made[-1]

    yield make
    for each in made:
        for visitor in each.visitors:
            visitor.http.close()
        site_loop.run(each.server.close())
        each.town.close()
