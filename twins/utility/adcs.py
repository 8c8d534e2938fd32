"""The ADCS, head-end of the AMI: takes requests of other systems, sends messages to meters, passes what comes back to the MDMS.

One task a meter works through its line: messages by priority, then receipts, then collections. Everything that has to
survive is in the database before it is answered, so that a restart resends with the same message ids and loses nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from drivers.roles import MessageCode, Meter, MeterMessage
from twins.clock import Clock, Event
from twins.utility.adcs_alerts import Alerts
from twins.utility.adcs_collection import Collection
from twins.utility.adcs_commands import PlannedCommands
from twins.utility.adcs_journal import Journal
from twins.utility.adcs_lines import Lines
from twins.utility.adcs_priorities import Priorities
from twins.utility.adcs_queue import Queue
from twins.utility.adcs_records import NEEDED, Admitted, LoggedRequest, MessageRecord, Request, State, Transaction
from twins.utility.adcs_reread import Reread
from twins.utility.adcs_rules import Rules
from twins.utility.adcs_tests import MeterTests
from twins.utility.adcs_watch import IntervalWatch
from twins.utility.config import AdcsConfig
from twins.utility.errors import NotAccepted, Reason
from twins.utility.mdms import Mdms
from twins.utility.network import AmiNetwork
from twins.utility.weather import WeatherService

_FIELDS = tuple(f.name for f in dataclasses.fields(MeterMessage) if f.default is None)
_NO_PRIORITY = 5


class Adcs:
    """The advanced data collection system. Every method belongs to the event loop's thread.

    `commands` are those planned for later, `alerts` those repeated, `rules` hold commands back or give them by time, class
    and weather, `priorities` say what goes first. `classes` maps a meter to the class of its customer.
    """

    def __init__(
        self,
        clock: Clock,
        engine: Engine,
        config: AdcsConfig,
        meters: Mapping[str, Meter],
        network: AmiNetwork,
        mdms: Mdms,
        defects: frozenset[str] = frozenset(),
        *,
        classes: Mapping[str, str] | None = None,
        zone: tzinfo = UTC,
        weather: WeatherService | None = None,
    ) -> None:
        self._clock = clock
        self._defects = defects
        self.network = network
        self.tests = tests = MeterTests(clock, engine, mdms, defects)
        self._watch = watch = IntervalWatch(config, defects)
        self._journal = journal = Journal(clock, engine, defects)
        self._queue = queue = Queue(clock, config, journal, watch, defects)
        reread = Reread(engine)
        collection = Collection(clock, config, network, mdms, journal, queue, tests, watch, reread, defects)
        self._lines = Lines(clock, config, meters, network, journal, queue, collection, tests, watch, defects)
        self.priorities = Priorities(engine, config.priorities, defects)
        self.commands = PlannedCommands(clock, engine, self, defects)
        self.alerts = Alerts(clock, engine, self, config.alert_every_s, defects)
        self.rules = Rules(clock, engine, self, config.rules, classes or {}, zone, weather, defects)

    def start(self) -> None:
        """Take up what was left unfinished, and begin to serve every meter."""
        self.tests.start()
        self._lines.start()
        self.priorities.start()
        self.rules.start(tuple(line.meter_id for line in self._lines))
        self.commands.start()
        self.alerts.start()

    async def close(self) -> None:
        """Stop serving the meters; what was not done is taken up by the next start."""
        self.rules.close()
        self.commands.close()
        self.alerts.close()
        self.tests.close()
        await self._lines.close()

    # --- what other systems may ask ---

    def new_message_id(self) -> int:
        """Give out a message id that no message has had."""
        return self._journal.new_message_id()

    def submit(self, request: Request) -> int:
        """Log a request and queue its message; returns the message id. NotAccepted where it cannot be carried out."""
        self.check(request)
        if request.message_id is not None and self._journal.found(request.message_id) is not None:
            return request.message_id
        admitted = self.admit(request)
        self.enter([admitted], lambda session: None)
        return admitted.message.message_id

    def collect(self, meter_id: str) -> Event:
        """Collect receipts, intervals and log from a meter now; the event is set once they are with the MDMS."""
        return self._lines.collect(meter_id)

    def collect_every_interval(self, meter_id: str) -> None:
        """From now on, collect a meter a little after the end of each of its recording intervals (C3-FR-07)."""
        self._lines.collect_every_interval(meter_id)

    def collect_as_usual(self, meter_id: str) -> None:
        """Collect a meter by the usual period again."""
        self._watch.unwatch(meter_id)

    def interval(self, meter_id: str) -> timedelta:
        """A meter's recording interval, as the ADCS has seen it."""
        return self._watch.length(meter_id)

    def requests(self) -> tuple[LoggedRequest, ...]:
        """The log of requests, oldest first."""
        return self._journal.requests()

    def message(self, message_id: int) -> MessageRecord:
        """A message and what became of it. NotAccepted where there is none."""
        return self._journal.message(message_id)

    def transactions(self, meter_id: str | None = None) -> tuple[Transaction, ...]:
        """The log of what was sent to and received from one meter, or all of them, oldest first."""
        return self._journal.transactions(meter_id)

    # --- how the ADCS's own parts send (`adcs_records.Outbox`) ---

    def serves(self, meter_id: str) -> bool:
        """Whether there is such a meter."""
        return meter_id in self._lines

    def check(self, request: Request) -> None:
        """NotAccepted where a request cannot be carried out."""
        self._lines.of(request.meter_id)
        missing = [name for name in NEEDED.get(request.code, ()) if getattr(request, name) is None]
        if missing:
            raise NotAccepted(
                Reason.INCOMPLETE_REQUEST,
                f"ADCS: a request for {request.code.name.lower()} needs {', '.join(missing)}",
            )

    def admit(self, request: Request) -> Admitted:
        """Check a request and make its message, with an id of its own unless it brings one. Nothing is sent yet."""
        self.check(request)
        message_id = self.new_message_id() if request.message_id is None else request.message_id
        return Admitted(request, self._message(request, message_id, self._clock.now()))

    def enter(self, admitted: Sequence[Admitted], along: Callable[[Session], None]) -> None:
        """Write messages, what rules make of them, and what `along` writes, in one transaction; then queue them."""
        now = self._clock.now()
        out: list[Admitted] = []
        writes = [along]
        for one in admitted:
            others, write = self.rules.gate(one)
            out += [one, *others]
            writes.append(write)
        self._journal.add(out, writes, now)
        for one in out:
            if one.state is State.QUEUED:
                self._queue.put(self._lines.of(one.request.meter_id), one.message, now)

    def withdraw(self, message_id: int, why: str, *, unanswered: bool = False) -> bool:
        """Take back a message that was never sent (or, `unanswered`, never accepted); whether that was so."""
        return any(self._queue.withdraw(line, message_id, why, unanswered=unanswered) for line in self._lines)

    def let_go(self, message_id: int) -> None:
        """Queue a message that was held back."""
        record = self.message(message_id)
        self._queue.put(self._lines.of(record.meter_id), record.message, self._clock.now())

    def _message(self, request: Request, message_id: int, now: datetime) -> MeterMessage:
        fields = {name: getattr(request, name) for name in _FIELDS}
        if "drops_energy_credit" in self._defects and request.code is MessageCode.PREPAYMENT:
            fields["credit_wh"] = None
        if "drops_zero_moment" in self._defects and request.code is MessageCode.BALANCE:
            fields["zero_at"] = None
        priority = self.priorities.of(request.code) if request.priority is None else request.priority
        if "sends_in_order_of_arrival" in self._defects:
            priority = _NO_PRIORITY
        return MeterMessage(message_id=message_id, code=request.code, issued_at=now, priority=priority, **fields)


__all__ = ["Adcs", "Request"]
