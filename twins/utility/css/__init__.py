"""The CSS: the representative's system. Identity, estimate, payment, ledger, the command to the meter, its confirmation.

A payment, its ledger entry and the command to send are one transaction; an outbox then hands commands to the ADCS, so
that a crash in between loses nothing and sends nothing twice. Steps are those of prepaying for service (C3, scenario 1).
"""

from twins.utility.css.records import Payment, PrepayRequest
from twins.utility.css.system import Css

__all__ = ["Css", "Payment", "PrepayRequest"]
