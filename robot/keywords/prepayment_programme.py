"""Keywords of what the programme promises beside the scenarios: daily balances, pay stations, warnings, options at zero."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property

from robot.api.deco import keyword, library

from bench import forecasting
from bench.burning import Burning
from bench.certify import session
from bench.judge.witness import Witness
from bench.keywords import PrepaymentKeywords
from bench.prepaying import Prepaying
from drivers.roles import MessageCode
from twins.utility.css.records import StationPayment


@library(scope="TEST")
class prepayment_programme(PrepaymentKeywords):  # noqa: N801 - Robot finds a library's class by the file's name
    """Rules of the utility's programme. `meter` and `display` name devices of the bench file."""

    def __init__(self, meter: str = "meter", display: str = "display") -> None:
        super().__init__(meter)
        self._display_name = display

    @cached_property
    def _burning(self) -> Burning:
        return Burning(Prepaying(session().bench, self._meter))

    @property
    def _case(self) -> Prepaying:
        return self._burning.case

    @keyword
    def the_balance_is_sent_daily_at_the_time_configured(self, days: int) -> None:
        """C3-FR-09: above the threshold, on each day at the hour that the PIXIT name."""
        case = self._case
        began = case.bench.now
        case.bench.advance(days * 86_400)
        zone = case.bench.config.utility.zone
        messages = [m for m in self._burning.messages(MessageCode.BALANCE, began) if m is not None]
        sent = [m.first_sent_at for m in messages if m.first_sent_at is not None]
        taken = [at for m in messages for at in case.taken_at(m.message_id)[:1]]
        in_time = [
            {at.date() for at in local if at.hour == case.stated("daily_balance_at") and at.minute == 0}
            for local in ([at.astimezone(zone) for at in moments] for moments in (sent, taken))
        ]
        self._judge.check(
            "C3-FR-09",
            f"of {days} days with the balance sent in time",
            claim=len(in_time[0]),
            measure=Witness.measure(len(in_time[1]), None, "bench"),
            expected=days,
            instrument_could_tell=True,
        )
        self._judge.settle()

    @keyword
    def a_pay_station_passes_on_a_payment(self, cents: int) -> None:
        """C3-BR-03: posted within the time of the PIXIT, and on its way to the meter at once."""
        case = self._case
        before = case.balance_cents()
        paid = StationPayment("S-7", f"{case.bench.now:%d%H%M%S}", case.account.number, cents, case.bench.now)
        within = float(case.stated("pay_station_posting_s"))
        case.ask(case.bench.clock.spawn, case.css.pay_at_station(paid))
        case.bench.advance(within)
        self._check_paid_in("C3-BR-03", f"posted within {within:g} s", before, cents)
        sent = list(self._burning.messages(MessageCode.PREPAYMENT, paid.taken_at))
        first = sent[0].first_sent_at if sent and sent[0] is not None else None
        self._judge.check(
            "C3-BR-03",
            "on its way to the meter",
            system="CSS",
            claim=None if first is None else first - paid.taken_at,
            expected=timedelta(0),
            tolerance=timedelta(seconds=within),
        )
        self._judge.settle()
        # a station that is passed on late is posted all the same, and leaves the account as the next test wants it
        case.bench.advance(3_600)

    @keyword
    def warnings_carry_the_forecast(self) -> None:
        """C3-NR-03: the time left on the meter and on the display device is what the history says."""
        case = self._case
        self._burning.interval_passes(3)
        statement = case.statement()
        own = forecasting.time_left(case, statement.balance_cents, statement.at)
        shown = self._burning.display(self._display_name).balance()
        for who, system, claim in (
            ("the meter", "ADCS", case.meter.account().time_left),
            ("the display device", "Display", None if shown is None else shown.time_left),
        ):
            self._judge.check(
                "C3-NR-03",
                f"the forecast of the time left on {who}",
                system=system,
                claim=claim,
                expected=own,
                tolerance=timedelta(minutes=float(case.stated("forecast_within_min"))),
            )
        self._judge.settle()

    @keyword
    def limit_is_ended_by_the_payment(self) -> None:
        """C3-NR-04: after paying again, service is as it was before zero."""
        case = self._case
        case.prepay(2_000)
        case.bench.advance(30)
        unlimited = case.meter.service().limit_w is None
        self._check_flow("C3-NR-04", "the limit is gone and current flows", system="CSS", claim=unlimited)
        self._judge.settle()

    @keyword
    def automatic_payment_was_tried(self, times: int) -> None:
        """C3-NR-04: at the threshold and once more at zero, then the fallback."""
        payments = self._case.ask(self._case.css.payments, self._case.account.number)
        tried = [p for p in payments if p.request_id is None and p.asked_at >= self._began]
        self._judge.check("C3-NR-04", "automatic payments tried", system="CSS", claim=len(tried), expected=times)
        self._judge.settle()

    @keyword
    def payments_are_counted_from_here(self) -> None:
        """What was paid before is not looked at."""
        self._began = self._case.bench.now
