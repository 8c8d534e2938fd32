"""Bad input at the website: a clear page each, nothing lost, nothing paid, memory bounded."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import BOTH
from tests.utility.conftest import ACCOUNT
from tests.website.conftest import Visitor, WebTown

pytestmark = BOTH


@pytest.fixture
def here(web_town: Callable[..., WebTown]) -> WebTown:
    return web_town()


@pytest.fixture
def ada(here: WebTown) -> Visitor:
    return here.visitor("C-1")


def test_ten_megabytes_are_refused_with_a_page_and_not_kept(here: WebTown, ada: Visitor) -> None:
    process = psutil.Process()
    token = ada.token
    ada.http.post("/language", content=b"x" * 70_000)
    before = process.memory_info().rss
    body = b"token=" + token.encode() + b"&language=" + b"e" * 10_000_000

    def pieces() -> object:
        yield f"token={token}&language=".encode()
        for _ in range(160):
            yield b"e" * 65_536

    kind = {"content-type": "application/x-www-form-urlencoded"}
    for content in (body, pieces()):
        answer = ada.http.post("/language", content=content, headers=kind)  # type: ignore[arg-type]
        assert answer.status_code == 413
        assert "too long" in answer.text
        assert "<main" in answer.text
    assert process.memory_info().rss - before < 60_000_000  # the client's own ten are among them
    ada.get("/accounts")
    assert ada.last.status_code == 200


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"language": "tlh"}, 422, "none of our languages"),
        ({"language": ""}, 422, "needed"),
        ({"language": "es\x00"}, 422, "characters"),
        ({"language": "e" * 500}, 422, "too long"),
    ],
)
def test_an_unknown_language_is_refused(ada: Visitor, fields: dict[str, str], status: int, said: str) -> None:
    ada.post("/language", **fields)
    assert ada.last.status_code == status
    assert said in ada.field("message")
    ada.get("/accounts")
    assert 'lang="en"' in ada.last.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"amount": "lots"}, "not an amount"),
        ({"amount": "1e9"}, "not an amount"),
        ({"amount": "25.001"}, "not an amount"),
        ({"amount": "999999999"}, "more than can be paid"),
        ({"amount": "10000000000000"}, "more than can be paid"),
        ({"amount": "9" * 300}, "more than can be paid"),
        ({"amount": "-" + "9" * 300}, "not an amount"),
        ({"payment": "web-1-" + "1" * 70}, "not one of ours"),
        ({"method": "gold"}, "none of the choices"),
        ({"method": "cash"}, "none of the choices"),
        ({"data_number": ""}, "needed"),
        ({"data_number": "4" * 500}, "too long"),
        ({"option": "nothing"}, "none of the choices"),
        ({"payment": "web-999-1"}, "not one of ours"),
        ({"payment": "x" * 90}, "not one of ours"),
    ],
)
def test_a_payment_form_says_what_is_wrong_with_it(
    here: WebTown, ada: Visitor, changes: dict[str, str], said: str
) -> None:
    here.asks(ada)
    here.pays(ada, 2_000, **changes)
    assert ada.last.status_code == 422
    assert said in ada.field("message")
    here.town.after(5)
    assert here.balance() == 0


@pytest.mark.parametrize(
    "ends_at", ["yesterday", "2026-13-01T00:00", "9999-12-31T23:59", "2026-03-08T02:30", "2001-01-01T00:00"]
)
def test_a_time_frame_that_cannot_be_is_refused(ada: Visitor, ends_at: str) -> None:
    ada.post(f"/accounts/{ACCOUNT}/prepay", ends_at=ends_at)
    if ends_at.startswith("9999"):
        assert ada.last.status_code in (200, 422)
    else:
        assert ada.last.status_code == 422


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/A-1/usage?day=tomorrow",
        "/accounts/A-1/usage?day=0001-01-01",
        "/accounts/A-1/usage?day=9999-12-31",
        "/accounts/A-1/usage?day=" + "1" * 3_000,
    ],
)
def test_a_day_that_is_none_is_refused(ada: Visitor, path: str) -> None:
    ada.get(path)
    assert ada.last.status_code == 422


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/%00",
        "/accounts/..%2f..%2fetc",
        "/accounts/A-1/requests/x",
        "/accounts/A-1/requests/99999999999999999999",
        *("/accounts/A-1/requests/4242", "/accounts/A-1/payments/web-1-1", "/accounts/Ä", "/live/A-9", "/accounts/a-1"),
    ],
)
def test_what_is_not_there_has_a_page_that_says_so(ada: Visitor, path: str) -> None:
    ada.get(path)
    assert ada.last.status_code == 404
    assert "There is no such page" in ada.last.text


def test_who_wants_headers_alone_gets_them_and_listens_to_nothing(here: WebTown, ada: Visitor) -> None:
    for path in (f"/accounts/{ACCOUNT}", f"/live/{ACCOUNT}"):
        said = ada.http.head(path)
        assert (said.status_code, said.content) == (200, b"")
        assert said.headers["x-frame-options"] == "DENY"
    website = here.town.utility.website
    assert website is not None
    assert not website.live.listeners


def test_other_methods_and_types_are_refused(ada: Visitor) -> None:
    assert ada.http.delete(f"/accounts/{ACCOUNT}").status_code == 405
    assert ada.http.post(f"/accounts/{ACCOUNT}/prepay", json={"ends_at": ""}).status_code == 415
    assert ada.http.post(f"/accounts/{ACCOUNT}/prepay", files={"ends_at": b"x"}).status_code == 415
    kind = {"content-type": "application/x-www-form-urlencoded"}
    for body in (b"a=1&a=2", b"token=%ff%fe", b"\xff\xfe", b"&".join(b"a%d=1" % k for k in range(100))):
        assert ada.http.post(f"/accounts/{ACCOUNT}/prepay", content=body, headers=kind).status_code == 422


words = st.one_of(
    st.text(max_size=60), st.sampled_from(["card", "limit", "25.00", "web-1-1", "A-1", "2026-02-01T00:00", "'", "-0"])
)


@pytest.mark.fuzz
def test_no_form_brings_the_website_down_or_money_out_of_nothing(here: WebTown, ada: Visitor) -> None:
    grace = here.visitor("desk-1")
    here.asks(ada)
    forms = [
        (ada, "/sign-in", ("login", "password", "next")),
        (ada, f"/accounts/{ACCOUNT}/prepay", ("ends_at",)),
        (
            ada,
            f"/accounts/{ACCOUNT}/requests/1/pay",
            ("payment", "method", "amount", "data_number", "data_expiry", "option"),
        ),
        (ada, "/language", ("language", "back")),
        (
            grace,
            f"/desk/accounts/{ACCOUNT}/requests",
            ("accounts", "name", "address", "ends_at", "channel", "presented"),
        ),
        (grace, "/desk/requests/1/identity", ("credential",)),
        (
            grace,
            "/desk/requests/1/pay",
            ("payment", "method", "amount", "data_number", "data_expiry", "option", "account"),
        ),
    ]
    tokens = {id(ada): ada.token, id(grace): grace.token}

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, len(forms) - 1), st.data())
    def sent(which: int, data: st.DataObject) -> None:
        who, path, names = forms[which]
        fields = {name: data.draw(words, label=name) for name in names if data.draw(st.booleans())}
        clean = {k: v.encode("utf-8", "surrogatepass").decode("utf-8", "replace") for k, v in fields.items()}
        cookies = dict(who.http.cookies)
        answer = httpx.post(
            here.server.address + path, data={"token": tokens[id(who)], **clean}, cookies=cookies, timeout=20
        )
        assert answer.status_code in (200, 303, 403, 404, 422, 429), (path, fields, answer.text)
        assert "<html" in answer.text or answer.status_code == 303

    sent()
    here.town.after(30)
    ada.get(f"/accounts/{ACCOUNT}")
    assert ada.last.status_code in (200, 303)
    charged = sum(cents for _, _, cents in here.town.utility.processor.charges)  # type: ignore[attr-defined]
    assert here.balance() == charged
