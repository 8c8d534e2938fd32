"""Keywords of the customer's display device: it shows what the meter shows, as soon as the meter knows it."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from typing import Any

from robot.api.deco import keyword, library

from bench.judge.verdict import Verdict
from bench.judge.witness import Witness
from bench.keywords import PrepaymentKeywords
from bench.prepaying import next_mark
from drivers.roles import DisplayCode, DisplayedBalance, MessageCode

RELAY_PRESS_S = 0.5
_STEP = timedelta(seconds=1)
_SHORTLY = timedelta(seconds=10)
_USAGE = {"summation": 900, "demand": 300}
"""What the display asks the meter for by itself, and every how many seconds."""


@library(scope="TEST")
class prepayment_display(PrepaymentKeywords):  # noqa: N801 - Robot finds a library's class by the file's name
    """The display device beside the meter. `meter`, `display`, `relay` and `load` name devices of the bench file; the relay's
    `button_channel` presses the button that switches the meter's own display."""

    def __init__(
        self,
        meter: str = "meter",
        display: str = "display",
        relay: str = "relay",
        button_channel: int = 4,
        load: str = "load",
    ) -> None:
        super().__init__(meter)
        self._load = load
        self._name = display
        self._relay = relay
        self._channel = button_channel

    @property
    def _display(self) -> Any:
        return self._case.bench.device(self._name)

    @property
    def _model(self) -> Any:
        return self._case.bench.predicted(self._name)

    def _predict(self, value: Any) -> Witness:
        return Witness.predict(value, f"model of {self._name}")

    # --- preparing -----------------------------------------------------------------------------------------------------

    @keyword
    def the_display_has_joined(self, within: timedelta) -> None:
        """Let bench time pass until the display is on the meter's home area network. Fails where it isn't in time."""
        deadline = self._case.bench.now + within
        while not (link := self._display.link()).joined:
            if self._case.bench.now >= deadline:
                raise AssertionError(
                    f"{self._name} is not on the meter's network after {within.total_seconds():g} s: {link.status}; "
                    "`twinbench doctor` tells what to do"
                )
            self._case.bench.advance(1.0)

    @keyword
    def the_display_shows_an_earlier_balance(self, cents: int) -> None:
        """Something for a new balance to take the place of."""
        self._case.send(MessageCode.BALANCE, **self._case.balance_message(cents, timedelta(hours=20)))

    @keyword
    def the_meters_own_display_is_switched(self, wanted: str) -> None:
        """`off` or `on`: a bench relay presses the meter's button, as the customer would."""
        if bool(self._case.meter.display()) is not (wanted == "on"):
            self._case.bench.device(self._relay).pulse(self._channel, RELAY_PRESS_S)
            self._case.bench.advance(2 * RELAY_PRESS_S)

    # --- checking ------------------------------------------------------------------------------------------------------

    def _check_account(self, id_: str, what: str) -> None:
        """The display's balance, energy and time left against the back office's statement."""
        statement = self._case.statement()
        if statement is None:
            self._judge.check(id_, f"{what}: there is a statement to show", system="Display", claim=None, expected=True)
            return
        self._check_display_device(
            id_,
            f"{what}:",
            self._name,
            balance_cents=statement.balance_cents,
            credit_wh=statement.credit_wh,
            time_left=timedelta(minutes=int(statement.time_left.total_seconds()) // 60),
        )

    @keyword
    def display_device_shows_the_account(self) -> None:
        """C3-S1.13, C3-MSG-12: where one is fitted: balance in dollars and kWh, and the time left."""
        if not self._judge.applicable("C3-S1.13", "display_device", system="Meter"):
            return
        self._case.bench.advance(2.0)
        self._check_account("C3-S1.13", "the display device")
        shown: DisplayedBalance | None = self._display.balance()
        self._judge.fields(
            "C3-MSG-12",
            "balance, energy and time left on the display device",
            system="Display",
            required=("balance_cents", "credit_wh", "time_left"),
            claim=shown,
        )
        self._judge.settle()

    @keyword
    def display_device_shows_what_the_meter_has_to_show(self) -> None:
        """C3-FR-03: account and price, whatever the meter's own display does."""
        case = self._case
        case.bench.advance(2.0)
        own = bool(case.shown())
        what = f"own display {'on' if own else 'off'}"
        self._check_account("C3-FR-03", what)
        self._judge.check(
            "C3-FR-03",
            f"{what}: price",
            system="Display",
            claim=self._display.price_millicents_per_kwh(),
            predict=self._predict(self._model.price_millicents_per_kwh()),
            expected=int(case.stated("price_millicents_per_kwh")),
        )
        self._judge.settle()

    @keyword
    def display_device_shows_a_text(self, text: str) -> None:
        """C3-FR-03: a message of the utility, whatever the meter's own display does."""
        case = self._case
        case.send(MessageCode.TEXT, text=text)
        case.bench.advance(2.0)
        held, should = self._display.message(), self._model.message()
        self._judge.check(
            "C3-FR-03",
            f"own display {'on' if case.shown() else 'off'}: a text",
            system="Display",
            claim=None if held is None else held.text,
            predict=self._predict(None if should is None else should.text),
            expected=text,
        )
        self._judge.settle()

    @keyword
    def the_meters_own_display_shows(self, wanted: str) -> None:
        """C3-FR-03: `nothing`, or `the account`."""
        shows = DisplayCode.BALANCE in self._case.shown()
        self._judge.check(
            "C3-FR-03",
            f"the meter's own display shows {wanted}",
            system="Meter",
            claim=shows,
            expected=wanted != "nothing",
        )
        self._judge.settle()

    @keyword
    def display_device_shows_a_text_within(self, text: str, limit: str) -> None:
        """C3-NFR-01: from the meter's processing of a utility message to the display; `limit` is the requirement's, by name."""
        case = self._case
        self._check_passed(
            "a text of the utility",
            case.submit(MessageCode.TEXT, text=text),
            lambda: held if (held := self._display.message()) is not None and held.text == text else None,
            limit,
        )

    @keyword
    def display_device_shows_a_refresh_within(self, cents: int, limit: str) -> None:
        """C3-NFR-01: from the meter's processing of a balance to the display; `limit` is the requirement's, by name."""
        case = self._case
        self._check_passed(
            "a balance",
            case.submit(MessageCode.BALANCE, **case.balance_message(cents, timedelta(hours=30))),
            lambda: held if (held := self._display.balance()) is not None and held.balance_cents == cents else None,
            limit,
        )

    @keyword
    def display_device_shows_usage_when_recorded(self) -> None:
        """C3-NFR-01: register and demand on the display follow the interval that the meter has recorded.

        Meanwhile the load draws half of what it is provisioned with: a demand told before is not the one of then.
        """
        load, provisioned_a = self._case.bench.device(self._load), self._case.bench.strategy.load_current_a
        with ExitStack() as restored:  # load and display, whatever becomes of a read: other tests follow
            # What the display asks for by itself, at round minutes as it happens, would hide a meter that passes nothing on.
            for event, every_s in _USAGE.items():
                restored.callback(self._display.set_schedule, event, every_s, True)
                self._display.set_schedule(event, every_s, False)
            restored.callback(load.set_current, provisioned_a)
            load.set_current(provisioned_a / 2)
            self._check_usage_passed_on()
        self._judge.settle()

    def _check_usage_passed_on(self) -> None:
        """C3-NFR-01: what the display shows by the deadline after the next interval is what the meter reads."""
        case = self._case
        within = timedelta(seconds=self._judge.limit("C3-NFR-01", "at once").tolerance or 0)
        ahead = case.ahead_by()
        # Intervals end at whole multiples of their length; from shortly before on it is looked second by second.
        on_meter = case.bench.now + ahead
        left = next_mark(on_meter, case.interval) - on_meter
        case.bench.advance(max(0.0, (left - _SHORTLY).total_seconds()))
        since = case.bench.now + ahead
        recorded: list[Any] = []
        while not recorded and case.bench.now + ahead - since < 3 * case.interval:
            case.bench.advance(_STEP.total_seconds())
            recorded = [i for i in case.meter.intervals(since) if i.ends_at > since]
        deadline = (recorded[0].ends_at - ahead if recorded else case.bench.now) + within
        # What it shows by the deadline counts; reading a second later cannot make it earlier.
        case.bench.advance(max(0.0, (deadline - case.bench.now).total_seconds()))
        reading = case.meter.reading()
        # Since the interval ended, the register has moved on by what the load took.
        moved_wh = reading.power_w * (within + _STEP).total_seconds() / 3600
        self._judge.check(
            "C3-NFR-01",
            "usage is passed on when it is recorded",
            system="Meter",
            claim=self._display.delivered_wh(),
            predict=self._predict(self._model.delivered_wh()),
            expected=reading.delivered_wh,
            tolerance=moved_wh + float(case.pixit("display_device_usage_resolution_wh")),
            unit="Wh",
        )
        share = float(case.pixit("accuracy_class_percent")) / 100
        self._judge.check(
            "C3-NFR-01",
            "demand is passed on when it is recorded",
            system="Meter",
            claim=self._display.demand_w(),
            predict=self._predict(self._model.demand_w()),
            expected=reading.power_w,
            # Read twice by one meter, at two moments of a steady load.
            tolerance=2 * share * reading.power_w + float(case.pixit("display_device_demand_resolution_w")),
            unit="W",
        )

    def _check_passed(self, what: str, message_id: int, shown: Any, limit: str) -> None:
        """From the meter's processing to the display, and from there to what it shows, asked ten times a second: each within
        the limit. Between the two stands the display's stamp of when it got what it shows."""
        case = self._case
        self._display.clock()  # the time that its stamps are in is then the meter's
        asked = case.bench.now
        while (seen := shown()) is None and case.bench.now - asked < timedelta(minutes=20):
            case.bench.advance(0.1 if case.bench.now - asked < timedelta(seconds=30) else 10.0)
        seen_at = case.bench.now + case.ahead_by()
        case.until_receipt(message_id, 60)
        receipt = case.receipt(message_id)
        came_at = None if seen is None else seen.received_at
        passed = None if came_at is None or receipt is None else (came_at - receipt.completed_at).total_seconds()
        passed_after = self._judge.check(
            "C3-NFR-01",
            f"{what} is passed on",
            system="Meter",
            # Rounded down to its second: what is late by more than the limit is still late.
            measure=Witness.measure(passed, 0.0, self._name),
            limit=limit,
            unit="s",
        )
        if seen is None or came_at is None or receipt is None:
            return self._judge.settle()
        shown_after = self._judge.check(
            "C3-NFR-01",
            f"{what} is shown when it has come",
            system="Display",
            claim=(seen_at - came_at).total_seconds(),
            limit=self._judge.limit("C3-NFR-01", limit).wider(float(case.pixit("display_device_stamp_resolution_s"))),
            unit="s",
        )
        if {passed_after.verdict, shown_after.verdict} == {Verdict.PASS}:
            # What is late by less than a stamp can tell is late all the same, whoever of the two it was.
            self._judge.check(
                "C3-NFR-01",
                f"{what} is processed, passed on and shown",
                system="Meter, Display",
                claim=(seen_at - receipt.completed_at).total_seconds(),
                limit=limit,
                unit="s",
            )
        return self._judge.settle()
