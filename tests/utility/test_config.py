"""The utility's section of a bench file: what it refuses, and that it says where."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from drivers.roles import AtZero, MessageCode
from tests.conftest import LoopThread
from tests.utility.conftest import config
from twins.clock import SteppedClock
from twins.utility.config import UtilityConfig
from twins.utility.errors import NotAccepted, Reason
from twins.utility.utility import Utility


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tarif": {}}, "tarif"),
        ({"account": {"at_zero": "explode"}}, "regular_billing"),
        ({"account": {"at_zero": 3}}, "regular_billing"),
        ({"tariff": {"name": "D-OTHER"}}, "price_millicents_per_kwh"),
        ({"tariff": None}, "tariff"),
        ({"account": {"at_zero": "auto_replenish"}}, "auto_replenish_cents"),
        ({"account": {"fallback": "auto_replenish"}}, "fallback"),
        ({"account": {"switch": False, "at_zero": "limit"}}, "switch"),
        ({"account": {"history": {"by_hour_wh": [1.0] * 23}}}, "by_hour_wh"),
        ({"account": {"bill_cycle_day": 31}}, "bill_cycle_day"),
        ({"network": {"latency_s": 0.1, "jitter_s": 0.2}}, "jitter_s"),
        ({"network": {"loss": 1.0}}, "loss"),
        ({"adcs": {"priorities": {"text": 10}}}, "text"),
        ({"adcs": {"priorities": {"shout": 1}}}, "shout"),
        ({"adcs": {"collection_period_s": 86_401}}, "collection_period_s"),
        ({"payments": {"methods": ["barter"]}}, "pay_station"),
        ({"adcs": {"rules": [{"name": "idle"}]}}, "idle"),
        ({"weather": [{"at": "2026-01-05T08:00:00Z", "temperature_c": 400}]}, "temperature_c"),
        ({"mdms": {"listen": "127.0.0.1:0"}}, "clients"),
        ({"mdms": {"listen": "nowhere"}}, "listen"),
        ({"mdms": {"listen": "127.0.0.1:70000", "clients": [{"name": "a", "token": "x" * 16}]}}, "65535"),
        ({"mdms": {"clients": [{"name": "a", "token": "short"}]}}, "token"),
        ({"mdms": {"clients": [{"name": "a"}]}}, "token_env"),
        ({"time_zone": "Moon/Tranquility"}, "Moon/Tranquility"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        config(**changes)


def test_priorities_not_named_keep_their_default() -> None:
    priorities = config(adcs={"priorities": {"text": 0}}).adcs.priorities
    assert (priorities[MessageCode.TEXT], priorities[MessageCode.DISCONNECT]) == (0, 1)
    assert set(priorities) == set(MessageCode)


def test_a_meter_belongs_to_one_account() -> None:
    customer = config().model_dump(mode="json")["customers"][0]
    customer["accounts"][0] |= {"at_zero": "limit", "fallback": "disconnect", "billing": "prepaid"}
    with pytest.raises(ValidationError, match="TB-000001"):
        UtilityConfig.model_validate(
            {
                "tariff": {"price_millicents_per_kwh": 20_000},
                "customers": [
                    customer,
                    customer | {"id": "C-2", "accounts": [customer["accounts"][0] | {"number": "A-2"}]},
                ],
            }
        )


def test_names_are_read_as_a_person_writes_them() -> None:
    account = config(account={"at_zero": "Regular billing"}).customers[0].accounts[0]
    assert account.at_zero is AtZero.REGULAR_BILLING


def test_an_account_whose_meter_is_not_on_the_bench_is_refused(site_loop: LoopThread) -> None:
    clock = site_loop.call(SteppedClock)
    with pytest.raises(NotAccepted, match="TB-000001") as caught:
        Utility(clock, config(), {})
    assert caught.value.reason is Reason.UNKNOWN_METER


def test_no_credential_shows_in_a_printed_configuration() -> None:
    assert "analytical engine" not in repr(config())


@pytest.mark.parametrize(
    ("website", "said"),
    [
        ({"listen": "8080"}, "HOST:PORT"),
        ({"listen": "127.0.0.1:99999"}, "HOST:PORT"),
        ({"representatives": [{"login": "C-1", "name": "x"}]}, "'C-1' stands twice"),
        ({"representatives": [{"login": "d", "name": "x", "password_hash": "secret"}]}, "no argon2 hash"),
        ({"representatives": [{"login": "d", "name": "x", "password": "secret"}]}, "password"),
    ],
)
def test_a_website_that_cannot_be_is_refused(website: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config(website=website)
