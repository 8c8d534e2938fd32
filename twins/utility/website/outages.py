"""Reports of no power and what follows: the customer's report and its progress, the desk's tests and orders (C3, scenario 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from starlette.responses import Response

from twins.utility.css.trouble_records import NoPower, Staff
from twins.utility.css.trouble_records import Role as StaffRole
from twins.utility.errors import NotAccepted
from twins.utility.website.access import Role
from twins.utility.website.site import Asked, Page, Site, to


class OutagePages:
    """Pages of reports and orders. A report's progress is the same for the customer and the desk."""

    def __init__(self, site: Site, defects: frozenset[str] = frozenset()) -> None:
        self._site = site
        self._defects = defects
        self._css = site.systems.css

    def pages(self) -> list[Page]:
        """The pages by their addresses."""
        customer, desk, report, order = (
            Role.CUSTOMER,
            Role.REPRESENTATIVE,
            "/desk/outages/{report}",
            "/desk/orders/{order}",
        )
        return [
            Page("/accounts/{account}/outage", self.outage, customer),
            Page("/accounts/{account}/outage", self.report_own, customer, "POST"),
            Page("/desk/outages", self.open_reports, desk),
            Page("/desk/accounts/{account}/outage", self.outage, desk),
            Page("/desk/accounts/{account}/outage", self.log, desk, "POST"),
            Page(report, self.report, desk),
            Page(f"{report}/identity", self.identify, desk, "POST"),
            Page(f"{report}/act", self.act, desk, "POST"),
            Page("/desk/orders", self.orders, desk),
            Page(order, self.order, desk),
            Page(f"{order}/act", self.act_on_order, desk, "POST"),
        ]

    # --- reports ---

    def outage(self, asked: Asked) -> Response:
        """The account's reports with their progress, and the form for another one."""
        self._css.customers.account(asked.account)
        reports = tuple(reversed(self._css.trouble.reports(asked.account)))
        base = asked.request.url.path.rpartition("/")[0]
        return self._site.show(asked, "outage.html", base=base, account=asked.account, reports=reports)

    def report_own(self, asked: Asked) -> Response:
        """The customer reports no power; that they have signed in is their identity."""
        holder = self._css.front.holder(str(asked.visit.customer_id))
        report_id = self._css.trouble.log(self._told(asked, holder.name, holder.address, "website"))
        self._css.front.vouch(self._css.trouble.report(report_id).request_id, holder.customer_id)
        return to(f"/accounts/{asked.account}/outage")

    def log(self, asked: Asked) -> Response:
        """A representative logs what a customer reports (C3-S6.01)."""
        given = asked.given
        told = self._told(asked, given.text("name"), given.text("address"), "phone")
        return to(f"/desk/outages/{self._css.trouble.log(told)}")

    def _told(self, asked: Asked, name: str, address: str, channel: str) -> NoPower:
        given, zone = asked.given, asked.texts.zone
        since = given.moment("since", zone) if given.text("since", needed=False) else None
        presented = "presented" if given.text("presented", needed=False) else None
        return NoPower(asked.account, name, address, given.text("text"), presented, since, channel)

    def open_reports(self, asked: Asked) -> Response:
        """All reports that are open."""
        return self._site.show(asked, "desk_outages.html", reports=self._css.trouble.reports(open_only=True))

    def report(self, asked: Asked, refused: NotAccepted | None = None) -> Response:
        """A report: who makes it, what was prepaid, tests, orders (C3-S6.02 to S6.10)."""
        report = self._css.trouble.report(asked.number("report"))
        customer = self._css.front.identified(report.request_id)
        if customer is not None and "report_without_customers_address" in self._defects:
            customer = replace(customer, address="")
        return self._site.show(
            asked,
            "desk_outage.html",
            200 if refused is None else 422,
            report=report,
            customer=customer,
            record=self._css.trouble.service_record(report.report_id) if customer and not report.closed_at else None,
            checks=self._css.trouble.checks(report.report_id),
            orders=self._css.orders.orders(report_id=report.report_id),
            refused=refused,
        )

    def identify(self, asked: Asked) -> Response:
        """Hold what a customer says against what the CSS knows (C3-S6.02)."""
        report_id = asked.number("report")
        try:
            self._css.trouble.identify(report_id, asked.given.text("credential"), asked.visit.name)
        except NotAccepted as no:
            return self.report(asked, no)
        return to(f"/desk/outages/{report_id}")

    def act(self, asked: Asked) -> Response:
        """Test the meter, activate the service again, issue orders, or close the report."""
        report_id, by, trouble = asked.number("report"), asked.visit.name, self._css.trouble
        acts: dict[str, Callable[[int, str], object]] = {
            "test": trouble.test,
            "activate": trouble.activate,
            "still_no_power": trouble.still_no_power,
            "restored": trouble.restored,
        }
        acts[asked.given.one_of("act", tuple(acts))](report_id, by)
        return to(f"/desk/outages/{report_id}")

    # --- orders ---

    def orders(self, asked: Asked) -> Response:
        """Orders that are open, or all."""
        every = asked.given.text("all", needed=False) == "1"
        found = self._css.orders.orders(open_only=not every)
        return self._site.show(asked, "desk_orders.html", orders=found, every=every)

    def order(self, asked: Asked) -> Response:
        """An order with its history."""
        return self._site.show(asked, "desk_order.html", order=self._css.orders.order(asked.number("order")))

    def act_on_order(self, asked: Asked) -> Response:
        """Assign an order, begin or close the work, open it again, or add a line; by who may."""
        order_id, given, orders, by = asked.number("order"), asked.given, self._css.orders, self._staff(asked)
        act = given.one_of("act", ("assign", "begin", "note", "close", "reopen"))
        if act == "assign":
            orders.assign(order_id, given.text("to"), by)
        elif act == "begin":
            orders.begin(order_id, by)
        else:
            acts = {"note": orders.note, "close": orders.close, "reopen": orders.reopen}
            acts[act](order_id, by, given.text("note"))
        return to(f"/desk/orders/{order_id}")

    def _staff(self, asked: Asked) -> Staff:
        people = {r.login: r for r in self._site.systems.website.representatives}
        found = people.get(asked.visit.login)
        return Staff(asked.visit.name, StaffRole(found.role if found else "representative"))
