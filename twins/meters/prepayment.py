"""A meter's prepayment: what a message does to account, billing and service, and the events stored for later.

The back office keeps the balance; the meter holds, shows and acts on what it was sent (our profile). Billing converts at
the end of a recording interval, never inside one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from drivers.roles import (
    Account,
    AtZero,
    Billing,
    EventCode,
    MessageCode,
    MeterMessage,
    MeterTestResult,
    ReceiptStatus,
    ScheduledEvent,
    Switch,
)
from drivers.wire.meter_profile import LONGEST_TEXT
from drivers.wire.meter_settings import CustomerSettings, Language, TextNumber
from twins.clock import Clock, Timer
from twins.meters import texts
from twins.meters.logbook import Logbook
from twins.meters.own_balance import OwnBalance
from twins.meters.recorder import Recorder
from twins.meters.service import Service
from twins.meters.timekeeping import OwnClock

_DROP_S = 2.0


@dataclass(frozen=True)
class _Before:
    """What an event found, and gives back."""

    closed: bool
    limit_w: int | None
    billing: Billing


class Prepayment:
    """Account, billing mode and stored events of one meter, on its own clock."""

    def __init__(
        self,
        clock: Clock,
        own: OwnClock,
        log: Logbook,
        service: Service,
        recorder: Recorder,
        *,
        room: int,
        customer: CustomerSettings,
        own_balance: OwnBalance,
        test: Callable[[int], MeterTestResult],
        zero: Callable[[], None],
        changed: Callable[[], None],
        defects: frozenset[str],
    ) -> None:
        self._clock = clock
        self._own = own
        self._log = log
        self._service = service
        self._recorder = recorder
        self._room = 1 if "stores_one_event" in defects else room
        self.customer = customer
        self._own_balance = own_balance
        self._test = test
        self._zero = zero
        self._changed = changed
        self._defects = defects
        self.account = Account(Billing.REGULAR, 0, 0, 0, timedelta(0), None, AtZero.REGULAR_BILLING, 0, None)
        self.shown_cents = 0
        self._text = ""
        self._text_number: TextNumber | None = None
        self._at_zero = False
        self.test_result: MeterTestResult | None = None
        self.account_updates = 0
        self.schedule_changes = 0
        self.stored: list[ScheduledEvent] = []
        self.running: ScheduledEvent | None = None
        self._before: _Before | None = None
        self._next_billing: tuple[Billing, MessageCode | None] | None = None
        self._intervals_to_wait = 0
        self._timer: Timer | None = None
        self._alive = False

    @property
    def billing(self) -> Billing:
        """The billing in force."""
        return self.account.billing

    @property
    def text(self) -> str:
        """The utility's text: as it was sent, or the meter's own words for its number, in the customer's language."""
        text = self._text if self._text_number is None else texts.say(self._text_number, self._language)
        return text.encode("ascii", "replace").decode() if "shows_no_accents" in self._defects else text

    @property
    def notice(self) -> str:
        """That the balance has reached zero, in the customer's language; empty as long as it has not."""
        return texts.say(TextNumber.ZERO_BALANCE, self._language) if self._at_zero else ""

    @property
    def _language(self) -> Language:
        return Language.ENGLISH if "spanish_in_english" in self._defects else self.customer.language

    def set_customer(self, settings: CustomerSettings) -> None:
        """The customer's language, and whether the meter works out the balance from now on."""
        if settings.own_balance and not self.customer.own_balance:
            self._own_balance.begin(self.account)
        self.customer = settings

    def carry_out(self, message: MeterMessage) -> ReceiptStatus:
        """Do what a message says; anything but PROCESSED leaves everything as it was."""
        code = message.code
        if code is MessageCode.PREPAYMENT:
            return self._prepay(message)
        if code is MessageCode.BALANCE:
            if message.balance_cents is None:
                return ReceiptStatus.MALFORMED
            if "refreshes_display_daily" not in self._defects or self._a_day_old():
                self._update(message)
            return ReceiptStatus.PROCESSED
        if code in (MessageCode.CONNECT, MessageCode.DISCONNECT, MessageCode.LIMIT, MessageCode.RESTORE):
            return self._operate(message)
        if code is MessageCode.SCHEDULE:
            return self._store(message)
        if code is MessageCode.CANCEL_SCHEDULE:
            return self._cancel(message)
        if code is MessageCode.BILLING:
            if message.billing is None:
                return ReceiptStatus.MALFORMED
            if not ("stays_prepaid" in self._defects and message.billing is Billing.REGULAR):
                self._convert(message.billing, code)
            return ReceiptStatus.PROCESSED
        if code is MessageCode.TEXT:
            if message.text is None or len(message.text.encode(errors="replace")) > LONGEST_TEXT:
                return ReceiptStatus.MALFORMED
            self._text = message.text
            self._text_number = next((number for number in TextNumber if number == message.event_id), None)
            return ReceiptStatus.PROCESSED
        self.test_result = self._test(message.message_id)
        return ReceiptStatus.PROCESSED

    def add_credit(self, cents: int) -> bool:
        """Somebody tries to add credit at the meter; returns whether it was taken."""
        if "takes_credit_locally" in self._defects:
            self._set_account(balance_cents=self.account.balance_cents + cents)
            self.shown_cents = self.account.balance_cents
            self._changed()
            return True
        self._log.write(EventCode.REFUSED_LOCAL_CREDIT, max(0, cents))
        self._changed()
        return False

    def interval_ended(self) -> None:
        """A recording interval has ended: the moment for the balance to be worked out, and for billing to convert."""
        account = self.account
        works = self.customer.own_balance and "local_balance_stands" not in self._defects
        if works and account.updated_at is not None and self.billing is Billing.PREPAID:
            now = self._own_balance.now(self._own.now())
            self._set_account(
                balance_cents=now.balance_cents,
                credit_wh=now.credit_wh,
                time_left=now.time_left,
                zero_at=now.zero_at,
                updated_at=now.updated_at,
            )
            self.shown_cents = now.balance_cents
            self._look_for_zero()
        if self._next_billing is not None:
            if self._intervals_to_wait:
                self._intervals_to_wait -= 1
                return
            (billing, code), self._next_billing = self._next_billing, None
            if billing is not self.billing:
                self._set_account(billing=billing)
                self._own_balance.begin(self.account)
                self._log.write(EventCode.BILLING_CHANGED, billing.value, code)
                if "drops_service_on_conversion" in self._defects and self._service.position is Switch.CLOSED:
                    self._service.open(code)
                    self._clock.call_later(_DROP_S, self._service.close, code)
                self._look_for_zero()

    def power(self, alive: bool) -> None:
        """The meter has come up, or lost its supply: what fell due meanwhile is done when it is back."""
        self._alive = alive
        self.due()

    def due(self) -> None:
        """End and start the events whose time has come, and wait for the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._alive:
            return
        now = self._own.now()
        ended = self.running if self.running is not None and self.running.ends_at <= now else None
        if ended is not None:
            self._log.write(EventCode.SCHEDULE_ENDED, ended.event_id, MessageCode.SCHEDULE)
            self.running = None
            self.schedule_changes += 1
        while self.stored and self.stored[0].ends_at <= now:  # missed while the meter was without supply
            self._log.write(EventCode.SCHEDULE_ENDED, self.stored.pop(0).event_id, MessageCode.SCHEDULE)
            self.schedule_changes += 1
        starts = self.running is None and self.stored and self.stored[0].starts_at <= now
        if starts:
            self._start(self.stored.pop(0))
        elif ended is not None:
            self._give_back()
        coming = [e.starts_at for e in self.stored[:1]] + ([self.running.ends_at] if self.running else [])
        at = self._own.bench_time(min(coming)) if coming else None
        if at is not None:
            self._timer = self._clock.call_at(at, self.due)
        if ended is not None or starts:
            self._changed()

    def _prepay(self, message: MeterMessage) -> ReceiptStatus:
        if message.balance_cents is None:
            return ReceiptStatus.MALFORMED
        self._update(message)
        self._convert(Billing.PREPAID, message.code)
        if "leaves_service_off" not in self._defects:
            self._service.close(message.code)
        return ReceiptStatus.PROCESSED

    def _a_day_old(self) -> bool:
        """Whether the account was last updated a day ago, or never."""
        last = self.account.updated_at
        return last is None or self._own.now() - last >= timedelta(days=1)

    def _update(self, message: MeterMessage) -> None:
        old = self.account
        assert message.balance_cents is not None
        self.shown_cents = old.balance_cents if "display_keeps_old_balance" in self._defects else message.balance_cents
        price = message.price_millicents_per_kwh
        if "price_stands" in self._defects and old.price_millicents_per_kwh:
            price = None
        self._set_account(
            balance_cents=message.balance_cents,
            credit_wh=old.credit_wh if message.credit_wh is None else message.credit_wh,
            price_millicents_per_kwh=old.price_millicents_per_kwh if price is None else price,
            time_left=old.time_left if message.time_left is None else message.time_left,
            zero_at=old.zero_at if message.zero_at is None else message.zero_at,
            at_zero=old.at_zero if message.at_zero is None else message.at_zero,
            last_message_id=message.message_id,
            updated_at=self._own.now(),
        )
        self._own_balance.begin(self.account)
        self._look_for_zero()

    def _set_account(self, **fields: Any) -> None:
        self.account = replace(self.account, **fields)
        self.account_updates += 1

    def _look_for_zero(self) -> None:
        """See whether a prepaid balance has just reached zero."""
        account = self.account
        was, self._at_zero = (
            self._at_zero,
            (account.billing is Billing.PREPAID and account.updated_at is not None and account.balance_cents <= 0),
        )
        if self._at_zero and not was:
            self._log.write(EventCode.ZERO_REACHED)
            self._zero()

    def _convert(self, billing: Billing, code: MessageCode | None) -> None:
        self._next_billing = (billing, code)
        self._intervals_to_wait = 1 if "converts_an_interval_late" in self._defects else 0
        if self._recorder.at_boundary() or "converts_inside_interval" in self._defects:
            self.interval_ended()

    def _operate(self, message: MeterMessage) -> ReceiptStatus:
        if message.code is MessageCode.LIMIT and (message.limit_w is None or message.limit_w <= 0):
            return ReceiptStatus.MALFORMED
        if not self._service.fitted:
            return ReceiptStatus.REFUSED
        if "receipts_without_switching" in self._defects:
            return ReceiptStatus.PROCESSED
        if message.code is MessageCode.CONNECT:
            self._service.close(message.code)
        elif message.code is MessageCode.DISCONNECT:
            self._service.open(message.code)
        else:
            self._service.set_limit(message.limit_w if message.code is MessageCode.LIMIT else None, message.code)
        return ReceiptStatus.PROCESSED

    def _store(self, message: MeterMessage) -> ReceiptStatus:
        start, end, number = message.starts_at, message.ends_at, message.event_id
        if start is None or end is None or number is None or end <= start:
            return ReceiptStatus.MALFORMED
        held = self.schedule()
        slack = timedelta(0)
        if "overlooks_an_overlap_of_a_second" in self._defects:
            slack = timedelta(seconds=1)
        elif "refuses_back_to_back_events" in self._defects:
            slack = timedelta(microseconds=-1)
        overlapped = [
            e for e in held if e.event_id == number or (start + slack < e.ends_at and e.starts_at + slack < end)
        ]
        if overlapped and "no_overlap_alert" in self._defects:
            return ReceiptStatus.REFUSED
        if overlapped:
            self._log.write(EventCode.SCHEDULE_OVERLAP, number, message.code)
            if "keeps_second_of_overlapping" not in self._defects:
                return ReceiptStatus.OVERLAP
            self.stored = [e for e in self.stored if e not in overlapped]
            held = self.schedule()
        if end <= self._own.now() or len(held) >= self._room:
            return ReceiptStatus.REFUSED
        if "loses_events" in self._defects:
            return ReceiptStatus.PROCESSED
        event = ScheduledEvent(number, start, end, message.credit_wh or 0, message.at_zero or AtZero.DISCONNECT)
        self.stored.append(event)
        self.stored.sort(key=lambda e: e.starts_at)
        self._log.write(EventCode.SCHEDULE_STORED, number, message.code)
        self.schedule_changes += 1
        self.due()
        return ReceiptStatus.OVERLAP if overlapped else ReceiptStatus.PROCESSED

    def _cancel(self, message: MeterMessage) -> ReceiptStatus:
        if message.event_id is None:
            return ReceiptStatus.MALFORMED
        if self.running is not None and self.running.event_id == message.event_id:
            self.running = None
            self._log.write(EventCode.SCHEDULE_CANCELLED, message.event_id, message.code)
            self._give_back()
        elif any(e.event_id == message.event_id for e in self.stored):
            self.stored = [e for e in self.stored if e.event_id != message.event_id]
            self._log.write(EventCode.SCHEDULE_CANCELLED, message.event_id, message.code)
        else:
            return ReceiptStatus.REFUSED
        self.schedule_changes += 1
        self.due()
        return ReceiptStatus.PROCESSED

    def schedule(self) -> tuple[ScheduledEvent, ...]:
        """Events that are running or still to come, by start."""
        return (*((self.running,) if self.running else ()), *self.stored)

    def _start(self, event: ScheduledEvent) -> None:
        service = self._service
        if self._before is None:  # else it follows another back to back and will give back what that one found
            billing = self.billing if self._next_billing is None else self._next_billing[0]
            self._before = _Before(service.position is not Switch.OPEN, service.limit_w, billing)
        self.running = event
        self._log.write(EventCode.SCHEDULE_STARTED, event.event_id, MessageCode.SCHEDULE)
        self._set_account(credit_wh=event.credit_wh, at_zero=event.at_zero, updated_at=self._own.now())
        self._own_balance.begin(self.account)
        self._convert(Billing.PREPAID, MessageCode.SCHEDULE)
        service.set_limit(None, MessageCode.SCHEDULE)
        if "sleeps_through_events" not in self._defects:
            service.close(MessageCode.SCHEDULE)

    def _give_back(self) -> None:
        before, self._before = self._before, None
        if before is None:
            return
        self._convert(before.billing, MessageCode.SCHEDULE)
        if before.limit_w is not None and before.limit_w != self._service.limit_w:
            self._service.set_limit(before.limit_w, MessageCode.SCHEDULE)
        elif before.limit_w is None:
            self._service.set_limit(None, MessageCode.SCHEDULE)
        if before.closed:
            self._service.close(MessageCode.SCHEDULE)
        else:
            self._service.open(MessageCode.SCHEDULE)
