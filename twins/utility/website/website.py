"""The website put together on the utility's systems."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Engine

from twins.clock import Clock
from twins.utility.adcs import Adcs
from twins.utility.config import UtilityConfig
from twins.utility.css import Css
from twins.utility.mdms import Mdms
from twins.utility.website.access import Access
from twins.utility.website.app import application
from twins.utility.website.at_zero import AtZeroPages
from twins.utility.website.cashier import Cashier
from twins.utility.website.config import WebsiteConfig
from twins.utility.website.customer import CustomerPages
from twins.utility.website.desk import DeskPages
from twins.utility.website.events import EventPages
from twins.utility.website.live import Live
from twins.utility.website.outages import OutagePages
from twins.utility.website.site import Site, Systems
from twins.utility.website.views import Views


class Website:
    """The utility's website. `app` is served by `twins.utility.web.serve`; its handlers belong to the event loop's thread."""

    def __init__(
        self,
        clock: Clock,
        engine: Engine,
        config: UtilityConfig,
        website: WebsiteConfig,
        css: Css,
        adcs: Adcs,
        mdms: Mdms,
        passwords: Mapping[str, str],
        defects: frozenset[str] = frozenset(),
    ) -> None:
        """`passwords`: first passwords, by login, of those whose hash the bench file doesn't give."""
        self.access = Access(clock, engine, config, website)
        self._passwords = dict(passwords)
        self.cashier = Cashier(clock, engine, css)
        site = Site(Systems(clock, config, website, css, mdms, adcs, self.access, self.cashier))
        views = Views(site, defects)
        events = EventPages(site, defects)
        self._at_zero = AtZeroPages(site)
        self.pages = [
            *CustomerPages(site, views).pages(),
            *DeskPages(site, views, events).pages(),
            *self._at_zero.pages(),
            *events.pages(),
            *OutagePages(site, defects).pages(),
        ]
        self.live = Live(site)
        self.cashier.tell = self.live.changed
        self.app = application(site, self.pages, self.live)

    def start(self) -> None:
        """Take in who may sign in."""
        self.access.take_in(self._passwords)
        self._passwords.clear()

    async def close(self) -> None:
        """Stop waiting for payments and agreements."""
        await self._at_zero.agreements.close()
        await self.cashier.close()
