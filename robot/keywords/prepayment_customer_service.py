"""Keywords of what prepayment asks of customer service: payments, and where they are not taken."""

from __future__ import annotations

from contextlib import suppress

from robot.api.deco import keyword, library

from bench.keywords import PrepaymentKeywords
from twins.utility.errors import NotAccepted
from twins.utility.payments import PaymentMethod


@library(scope="TEST")
class prepayment_customer_service(PrepaymentKeywords):  # noqa: N801 - Robot finds a library's class by the file's name
    """Customer service's part in prepayment. `meter` names the meter under test in the bench file."""

    # --- preparing -----------------------------------------------------------------------------------------------------

    @keyword
    def the_customer_has_prepaid(self, cents: int) -> None:
        """The scenario up to the meter's receipt, in one sentence; nothing of it is checked here."""
        self._case.prepay(cents)
        self._case.until_receipt(self._case.message_id, 60)
        self._case.asked.append(self._case.message_id)

    @keyword
    def the_customer_prepays_while_the_analyzer_watches(self, cents: int) -> None:
        """As before, and the moment at which current begins to flow is measured."""
        case = self._case
        begun = case.bench.now
        case.prepay(cents)
        case.posted_at = case.bench.now
        case.energised_at = case.service.when(True, 60, since=begun)
        case.until_receipt(case.message_id, 60)

    # --- checking ------------------------------------------------------------------------------------------------------

    @keyword
    def every_payment_option_is_taken(self, cents: int) -> None:
        """C3-BR-01: each of the utility's current ways to pay replenishes the balance."""
        case = self._case
        case.request()
        case.identify()
        for method in PaymentMethod:
            before = case.balance_cents()
            with suppress(NotAccepted):
                case.pay(cents, method, payment_id=f"{method.value}-{case.request_id}")
            self._check_paid_in("C3-BR-01", f"paid by {method.value.replace('_', ' ')}", before, cents)
        case.until_receipt(case.message_id, 120)
        self._judge.settle()

    @keyword
    def meter_takes_no_payment(self, cents: int) -> None:
        """C3-BR-01: credit offered at the meter itself is refused and changes nothing."""
        case = self._case
        before, refused = case.meter.account().balance_cents, case.refused_at_meter(cents)
        self._judge.check("C3-BR-01", "credit at the meter is refused", system="Meter", claim=refused, expected=True)
        self._judge.check(
            "C3-BR-01",
            "the meter's balance stays",
            system="Meter",
            claim=case.meter.account().balance_cents,
            expected=before,
            unit="cent",
        )
        self._judge.settle()

    @keyword
    def payments_below_the_minimum_are_refused(self) -> None:
        """C3-BR-02: a cent less than the utility's minimum, nothing, and less than nothing; the minimum itself is taken."""
        case = self._case
        case.request()
        case.identify()
        minimum = int(case.stated("minimum_payment_cents"))
        for cents, taken in ((minimum - 1, False), (0, False), (-minimum, False), (minimum, True)):
            before, refused = case.balance_cents(), False
            try:
                case.pay(cents, PaymentMethod.CARD, payment_id=f"{cents}-{case.request_id}")
            except NotAccepted:
                refused = True
            self._judge.check(
                "C3-BR-02",
                f"a payment of {cents} cents is {'taken' if taken else 'refused'}",
                system="CSS",
                claim=not refused and case.balance_cents() == before + cents,
                expected=taken,
            )
            self._judge.check(
                "C3-BR-02",
                f"after {cents} cents the balance is right",
                system="CSS",
                claim=case.balance_cents(),
                expected=before + (cents if taken else 0),
                unit="cent",
            )
        self._judge.settle()
