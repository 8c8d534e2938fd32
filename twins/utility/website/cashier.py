"""Payments asked for at the website. Asking the processor may take bench time, a page may not: so a payment is begun, and
pages look how far it is. The same payment asked for twice is begun once.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from twins.clock import Clock
from twins.utility.css import Css, Payment
from twins.utility.css.records import Confirmation, LoggedPayment, PaymentState, Posting
from twins.utility.errors import NotAccepted, Reason
from twins.utility.website.tables import WebPaymentRow


class Stage(enum.Enum):
    """How far a payment is."""

    IN_PROGRESS = "in progress"
    REFUSED = "refused"
    POSTED = "posted"
    CONFIRMED = "confirmed"


@dataclass(frozen=True)
class Progress:
    """A payment as its page shows it. `reason` is empty unless it was refused."""

    payment_id: str
    request_id: int
    account_number: str
    amount_cents: int
    stage: Stage
    reason: str = ""
    why: str = ""
    logged: LoggedPayment | None = None
    posting: Posting | None = None
    confirmation: Confirmation | None = None

    @property
    def again(self) -> bool:
        """Whether the same payment can be given once more."""
        return self.stage is Stage.REFUSED and self.reason == Reason.NO_ANSWER


class Cashier:
    """Begins payments on the clock and tells how far they are. Every method belongs to the event loop's thread."""

    def __init__(self, clock: Clock, engine: Engine, css: Css) -> None:
        self._clock = clock
        self._engine = engine
        self._css = css
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.tell: Callable[[str], object] = lambda meter_id: None
        """Called with the meter of an account whose payment was answered."""

    async def close(self) -> None:
        """Stop waiting for answers; the CSS settles what is left when it starts again."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def next_id(self, request_id: int) -> str:
        """Id for the next payment of a request: that of the last one, where nobody knows yet what became of it."""
        with Session(self._engine) as session:
            last = session.scalars(
                select(WebPaymentRow)
                .where(WebPaymentRow.request_id == request_id)
                .order_by(WebPaymentRow.asked_at.desc(), WebPaymentRow.payment_id.desc())
            ).first()
            count = session.scalar(select(func.count()).where(WebPaymentRow.request_id == request_id)) or 0
        if last is not None and self._progress(last).again:
            return last.payment_id
        return f"web-{request_id}-{count + 1}"

    def begin(self, payment: Payment) -> None:
        """Begin a payment, unless it has been begun. NotAccepted where its id was given for another amount or account."""
        with Session(self._engine) as session, session.begin():
            row = session.get(WebPaymentRow, payment.payment_id)
            if row is not None:
                if (row.account_number, row.amount_cents) != (payment.account_number, payment.amount_cents):
                    raise NotAccepted(
                        Reason.PAYMENT_ID_REUSED, f"website: payment {payment.payment_id} was asked for otherwise"
                    )
                if payment.payment_id in self._tasks or not self._progress(row).again:
                    return
                row.answered_at, row.reason, row.why = None, "", ""
            else:
                row = WebPaymentRow(
                    payment_id=payment.payment_id,
                    request_id=payment.request_id,
                    account_number=payment.account_number,
                    amount_cents=payment.amount_cents,
                    asked_at=self._clock.now(),
                )
                session.add(row)
        task = self._clock.spawn(self._pay(payment), name=f"website payment {payment.payment_id}")
        self._tasks[payment.payment_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(payment.payment_id, None))

    async def _pay(self, payment: Payment) -> None:
        reason, why = "", ""
        try:
            await self._css.pay(payment)
        except NotAccepted as no:
            reason, why = no.reason.value, str(no)
        with Session(self._engine) as session, session.begin():
            row = session.get_one(WebPaymentRow, payment.payment_id)
            row.answered_at, row.reason, row.why = self._clock.now(), reason, why
        self.tell(self._css.customers.account(payment.account_number).meter_id)

    def progress(self, payment_id: str) -> Progress:
        """How far a payment is; NotAccepted where none of that id was asked for here."""
        with Session(self._engine) as session:
            row = session.get(WebPaymentRow, payment_id)
        if row is None:
            raise NotAccepted(Reason.UNKNOWN_PAYMENT, f"website: no payment {payment_id!r}")
        return self._progress(row)

    def of_account(self, account_number: str, most: int = 50) -> tuple[Progress, ...]:
        """Payments of an account asked for here, newest first."""
        with Session(self._engine) as session:
            rows = session.scalars(
                select(WebPaymentRow)
                .where(WebPaymentRow.account_number == account_number)
                .order_by(WebPaymentRow.asked_at.desc(), WebPaymentRow.payment_id.desc())
                .limit(most)
            ).all()
        return tuple(self._progress(row) for row in rows)

    def _progress(self, row: WebPaymentRow) -> Progress:
        logged = self._css.front.payment(row.payment_id)
        posting = self._css.front.posting(row.payment_id)
        confirmation = None if posting is None else self._css.confirmation(row.payment_id)
        reason, why = row.reason, row.why
        if confirmation is not None:
            stage = Stage.CONFIRMED
        elif posting is not None:
            stage = Stage.POSTED
        elif logged is not None and logged.state is PaymentState.DECLINED:
            stage, reason, why = Stage.REFUSED, Reason.DECLINED.value, logged.why
        elif row.reason:
            stage = Stage.REFUSED
        elif row.payment_id in self._tasks:
            stage = Stage.IN_PROGRESS
        else:  # begun before the website was started anew: what became of it is found by asking again
            stage, reason = Stage.REFUSED, Reason.NO_ANSWER.value
        return Progress(
            row.payment_id,
            row.request_id,
            row.account_number,
            row.amount_cents,
            stage,
            reason if stage is Stage.REFUSED else "",
            why if stage is Stage.REFUSED else "",
            logged,
            posting,
            confirmation,
        )
