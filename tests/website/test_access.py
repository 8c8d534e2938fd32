"""Who may see what: nobody sees what isn't theirs, whatever they put into an address, a form or a cookie."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from tests.conftest import BOTH
from tests.utility.conftest import ACCOUNT
from tests.website.conftest import CUSTOMERS, OTHER, PASSWORDS, Visitor, WebTown
from twins.utility.website.access import Role
from twins.utility.website.site import Page

pytestmark = BOTH

SECRETS = ("7,777.77", "Clara", "Wieck", "Oak Avenue", "kinderszenen")


@pytest.fixture
def here(web_town: Callable[..., WebTown]) -> WebTown:
    return web_town()


def addresses(pages: list[Page], role: Role, **parts: list[str]) -> Iterator[tuple[Page, str, dict[str, str]]]:
    """The addresses of a role's pages with every combination of these parts."""
    for page in pages:
        if page.role is role:
            names = [name for name in parts if f"{{{name}}}" in page.path]
            for values in itertools.product(*(parts[name] for name in names)):
                chosen = dict(zip(names, values, strict=True))
                yield page, page.path.format(**{"booking": "web-1", "report": "1", "order": "1", **chosen}), chosen


def pages_of(here: WebTown) -> list[Page]:
    assert here.town.utility.website is not None
    return here.town.utility.website.pages


def test_a_customer_never_sees_anothers_account(here: WebTown) -> None:
    clara, ada = here.visitor("C-2"), here.visitor("C-1")
    hers = here.asks(clara, OTHER).rpartition("/")[2]
    paid = here.pays(clara, 6_000).rpartition("/")[2]
    here.town.after(20)
    mine = here.asks(ada).rpartition("/")[2]
    asked, both = 0, [ACCOUNT, OTHER]
    for page, path, parts in addresses(
        pages_of(here), Role.CUSTOMER, account=both, request=[mine, hers], payment=[paid]
    ):
        if parts.get("account") != OTHER and parts.get("request") != hers and "payment" not in parts:
            continue
        if page.method == "POST":
            ada.post(path, ends_at="", amount="10.00", method="card", payment=f"web-{hers}-9", option="limit")
        else:
            ada.get(path)
        assert ada.last.status_code == 404, (page.method, path)
        assert not [secret for secret in SECRETS if secret in ada.last.text], path
        asked += 1
    assert asked >= 10
    assert here.balance(OTHER) == 777_777 + 6_000


def test_a_customer_has_no_desk_and_a_representative_no_account(here: WebTown) -> None:
    ada, grace = here.visitor("C-1"), here.visitor("desk-1")
    parts = {"account": [ACCOUNT], "request": ["1"], "payment": ["web-1-1"]}
    for who, role in ((ada, Role.REPRESENTATIVE), (grace, Role.CUSTOMER)):
        for page, path, _ in addresses(pages_of(here), role, **parts):
            if page.method == "POST":
                who.post(path)
            else:
                who.get(path)
            assert who.last.status_code == 404, path


def test_who_has_not_signed_in_is_sent_to_the_door_and_back(here: WebTown) -> None:
    nobody = here.visitor()
    parts = {"account": [ACCOUNT], "request": ["1"], "payment": ["web-1-1"]}
    for role in (Role.CUSTOMER, Role.REPRESENTATIVE):
        for page, path, _ in addresses(pages_of(here), role, **parts):
            answer = nobody.http.request(page.method, path, follow_redirects=False, data={"token": "x"})
            assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next={path}")
    nobody.get(f"/accounts/{ACCOUNT}/usage")
    nobody.post("/sign-in", login="C-1", password=PASSWORDS["C-1"], next=nobody.hidden("next"))
    assert nobody.last.url.path == f"/accounts/{ACCOUNT}/usage"


@pytest.mark.parametrize("away", ["//evil.example", "https://evil.example", "/\\evil.example", "evil"])
def test_nobody_is_sent_away_from_the_site(here: WebTown, away: str) -> None:
    ada = here.visitor()
    ada.post("/sign-in", login="C-1", password=PASSWORDS["C-1"], next=away)
    assert str(ada.last.url) == f"{here.server.address}/accounts/{ACCOUNT}"


def test_a_forged_form_does_nothing(here: WebTown) -> None:
    ada, clara = here.visitor("C-1"), here.visitor("C-2")
    here.asks(ada)
    path, fields = ada.last.url.path, {"payment": ada.hidden("payment"), "method": "card", "amount": "20.00"}
    for token in ("", "0" * 64, clara.token, "é", "0" * 399):
        answer = ada.http.post(f"{path}/pay", data={"token": token, **fields})
        assert answer.status_code == 403
        assert "out of date" in answer.text
    here.town.after(5)
    assert here.balance() == 0
    for page in pages_of(here):
        if page.method == "POST" and page.role is Role.CUSTOMER and "request" not in page.path:
            assert ada.http.post(page.path.format(account=ACCOUNT, booking="web-1")).status_code in (403, 415)
    assert ada.http.post("/sign-out", data={"token": clara.token}).status_code == 403
    assert ada.http.post("/language", data={"token": "", "language": "es"}).status_code == 403


def test_somebody_elses_session_is_worth_nothing_once_it_is_over(here: WebTown) -> None:
    ada, thief = here.visitor("C-1"), here.visitor()
    stolen = ada.http.cookies["session"]
    thief.http.cookies.set("session", stolen)
    ada.post("/sign-out")
    thief.get(f"/accounts/{ACCOUNT}")
    assert thief.last.url.path == "/sign-in"
    for key in ("", "x", "a" * 5_000, "../../etc", "0'; DROP TABLE web_sessions; --"):
        answer = httpx.get(f"{here.server.address}/accounts", headers={"cookie": f"session={key}"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/accounts")


def test_a_session_ends_by_bench_time(web_town: Callable[..., WebTown]) -> None:
    here = web_town(website={"idle_min": 30, "longest_h": 2})
    ada = here.visitor("C-1")
    for _ in range(4):
        here.town.after(1_500)
        ada.get("/accounts")
        assert ada.last.url.path == f"/accounts/{ACCOUNT}"
    here.town.after(1_500)
    ada.get("/accounts")
    assert ada.last.url.path == "/sign-in", "longer than any session may last"
    ada.sign_in("C-1")
    here.town.after(1_801)
    ada.get("/accounts")
    assert ada.last.url.path == "/sign-in", "nobody used it for too long"


def test_signing_in_gives_a_new_session(here: WebTown) -> None:
    ada = here.visitor()
    ada.get("/sign-in")
    before = ada.http.cookies["session"]
    ada.sign_in("C-1")
    assert ada.http.cookies["session"] != before


def test_too_many_failures_shut_a_login_for_a_while(web_town: Callable[..., WebTown]) -> None:
    here = web_town(website={"failures_per_login": 3, "failures_per_address": 100})
    ada, clara = here.visitor(), here.visitor()
    for _ in range(3):
        ada.sign_in("C-1", "wrong")
        assert ada.last.status_code == 403
        assert ada.field("message") == "User name and password do not belong together."
    ada.sign_in("C-1")
    assert ada.last.status_code == 429
    assert "Try again after" in ada.field("message")
    clara.sign_in("C-2")
    assert clara.last.status_code == 200, "somebody else is not shut out"
    here.town.after(15 * 60)
    ada.sign_in("C-1")
    assert ada.last.url.path == f"/accounts/{ACCOUNT}"


def test_too_many_failures_shut_an_address_for_a_while(web_town: Callable[..., WebTown]) -> None:
    here = web_town(website={"failures_per_login": 100, "failures_per_address": 4})
    guest = here.visitor()
    for k in range(4):
        guest.sign_in(f"guess-{k}", "wrong")
        assert guest.last.status_code == 403
    guest.sign_in("C-1")
    assert guest.last.status_code == 429


def test_neither_password_nor_session_stand_anywhere_in_the_data_base(
    web_town: Callable[..., WebTown], tmp_path: Path
) -> None:
    unhashed = [{k: v for k, v in customer.items() if k != "password_hash"} for customer in CUSTOMERS]
    here = web_town(url=f"sqlite:///{tmp_path}/utility.db", customers=unhashed, passwords=PASSWORDS)
    ada = here.visitor("C-1")
    with here.town.utility._engine.connect() as connection:
        rows = connection.execute(text("select * from web_logins, web_sessions")).all()
        hashes = connection.execute(text("select password from web_logins")).scalars().all()
    kept = (tmp_path / "utility.db").read_bytes() + (tmp_path / "utility.db-wal").read_bytes()
    assert rows
    assert len(hashes) == len(PASSWORDS)
    assert all(hashed.startswith("$argon2id$") for hashed in hashes)
    for secret in (*PASSWORDS.values(), ada.http.cookies["session"]):
        assert secret.encode() not in kept


def test_first_passwords_are_hashed_once_when_somebody_first_comes(web_town: Callable[..., WebTown]) -> None:
    unhashed = [{k: v for k, v in customer.items() if k != "password_hash"} for customer in CUSTOMERS]
    here = web_town(customers=unhashed, passwords=PASSWORDS)

    def logins() -> dict[str, str]:
        with here.town.utility._engine.connect() as connection:
            return {
                row.login: row.password for row in connection.execute(text("select login, password from web_logins"))
            }

    guest = here.visitor()
    guest.get("/sign-in")
    assert logins().keys() == {"desk-1"}, "whose hash the bench file has"
    guest.sign_in("somebody unknown", "moonlight sonata")
    assert guest.last.status_code == 403
    hashes = logins()
    assert hashes.keys() == PASSWORDS.keys(), "those of all, whoever came"
    for login in ("C-1", "C-2"):
        guest.sign_in(login)
        assert guest.last.status_code == 200
        here.visitor().sign_in(login, "wrong")
    assert here.visitors[-1].last.status_code == 403
    assert logins() == hashes, "and once"


def test_every_answer_carries_the_security_headers_and_bench_time(here: WebTown) -> None:
    ada = here.visitor("C-1")
    here.town.after(3_600)
    (versioned,) = re.findall(r'rel="stylesheet" href="([^"]+)"', ada.get("/"))
    styles = ("/static/site.css", "/static/site.css?v=another", versioned)
    for path in ("/", f"/accounts/{ACCOUNT}", "/nowhere", *styles, "/static/..%2fapp.py", "/live/x"):
        ada.get(path)
        headers = ada.last.headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert "'unsafe" not in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert headers["date"].endswith("01:00:00 GMT" if here.town.clock.now().hour == 1 else "GMT")
        day = "public, max-age=86400"
        kept = {"/static/site.css": day, "/static/site.css?v=another": day, versioned: "public, max-age=315360000"}
        assert headers["cache-control"] == kept.get(path, "no-store")
    cookies = here.visitor().http.get("/sign-in").headers["set-cookie"].lower()
    assert "httponly" in cookies
    assert "samesite=lax" in cookies


def test_a_representative_serves_a_customer_from_search_to_acknowledgement(here: WebTown) -> None:
    grace = here.visitor("desk-1")
    assert grace.last.url.path == "/desk"
    for wanted in ("A-1", "ada b", "c-1"):
        assert f"/desk/accounts/{ACCOUNT}" in grace.get(f"/desk?q={wanted}")
    assert "No account begins with this." in grace.get("/desk?q=%25")
    ask = {"accounts": ACCOUNT, "name": "Ada Byron", "address": "7 Elm Street, Springfield", "channel": "phone"}
    grace.post(f"/desk/accounts/{ACCOUNT}/requests", presented="yes", ends_at="", **ask)
    request = grace.last.url.path
    assert "Elm Street" in grace.last.text
    grace.get(f"{request}/estimate")
    assert grace.last.status_code == 422, "nobody has been identified yet"
    grace.post(f"{request}/identity", credential="not she")
    assert grace.last.status_code == 422
    grace.post(f"{request}/identity", credential="analytical engine")
    assert (grace.field("credentials_confirmed"), grace.field("account_numbers")) == ("Confirmed", ACCOUNT)
    grace.get(f"{request}/estimate?method=pay_station")
    payment = grace.hidden("payment")
    grace.post(
        f"{request}/pay",
        payment=payment,
        account=ACCOUNT,
        method="pay_station",
        amount="25",
        data_receipt="R-77",
        data_station="S-4",
        option="limit",
    )
    here.town.after(0)
    grace.get(f"/desk/payments/{payment}")
    assert grace.field("stage") == "Paid"
    grace.post(f"/desk/payments/{payment}/acknowledge")
    assert grace.last.status_code == 422, "there is nothing to acknowledge yet"
    here.town.after(10)
    grace.post(f"/desk/payments/{payment}/acknowledge")
    assert grace.field("acknowledged_by") == "Grace at desk 1"
    confirmation = here.town.ask(here.town.utility.css.confirmation, payment)
    assert confirmation is not None
    assert confirmation.acknowledged_by == "Grace at desk 1"


def test_names_are_text_and_never_markup(here: WebTown) -> None:
    clara: Visitor = here.visitor("C-2")
    assert "Wieck &lt;b&gt;" in clara.last.text
    assert "<b>" not in clara.last.text.partition("<main")[0]
