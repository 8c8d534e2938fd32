"""The utility: its systems put together on one clock, one database and the meters of a bench, which it knows by role only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from drivers.roles import Meter
from twins.clock import Clock
from twins.defects import of
from twins.utility.adcs import Adcs
from twins.utility.adcs_schedules import Schedules
from twins.utility.config import UtilityConfig
from twins.utility.css import Css
from twins.utility.database import open_database
from twins.utility.errors import NotAccepted, Reason
from twins.utility.mdms import Mdms
from twins.utility.mdms_query import MeterData
from twins.utility.network import AmiNetwork
from twins.utility.payments import ConfiguredProcessor, PaymentProcessor
from twins.utility.weather import ToldWeather, WeatherService

if TYPE_CHECKING:
    from twins.utility.website.website import Website


class Utility:
    """CSS, ADCS, MDMS, the AMI network and the weather. `meters` maps the meter id of an account to whatever plays that meter's
    role; without a `weather` service `told_weather` says what the bench file foresees and what it is told.

    NotAccepted where an account names a meter that is not there, or the database cannot be opened.
    """

    def __init__(
        self,
        clock: Clock,
        config: UtilityConfig,
        meters: Mapping[str, Meter],
        *,
        seed: int = 0,
        defects: frozenset[str] = frozenset(),
        database_url: str = "sqlite://",
        processor: PaymentProcessor | None = None,
        passwords: Mapping[str, str] | None = None,
        weather: WeatherService | None = None,
    ) -> None:
        """`passwords`: first passwords at the website, by login, of those whose hash the configuration doesn't give."""
        for customer in config.customers:
            for account in customer.accounts:
                if account.meter_id not in meters and not account.elsewhere:
                    raise NotAccepted(
                        Reason.UNKNOWN_METER,
                        f"account {account.number}: no meter {account.meter_id!r} on this bench; "
                        f"meters are {', '.join(meters) or 'none'}",
                    )
        self.website: Website | None = None
        make_website = None if config.website is None else _website()
        self._engine = open_database(database_url)
        self.processor: PaymentProcessor = processor or ConfiguredProcessor(clock, config.payments.processor)
        self.network = AmiNetwork(clock, config.network, seed)
        self.mdms = Mdms(clock, self._engine, config, seed, of("mdms", defects))
        self.told_weather = ToldWeather(clock, config.weather)
        self.meters = tuple(meters)
        self.meter_data = MeterData(clock, self._engine)
        self.adcs = Adcs(
            clock,
            self._engine,
            config.adcs,
            meters,
            self.network,
            self.mdms,
            of("adcs", defects),
            classes={a.meter_id: c.customer_class for c in config.customers for a in c.accounts},
            zone=config.zone,
            weather=weather or self.told_weather,
        )
        self.schedules = Schedules(clock, self._engine, config.adcs, meters, self.adcs, of("adcs", defects))
        self.css = Css(
            clock, self._engine, config, self.processor, self.adcs, self.mdms, self.schedules, of("css", defects)
        )
        if config.website is not None and make_website is not None:
            self.website = make_website(
                *(clock, self._engine, config, config.website, self.css, self.adcs, self.mdms),
                passwords or {},
                of("website", defects),
            )

    def start(self) -> None:
        """Load customers and history, take up what was left unfinished, and begin to serve."""
        self.told_weather.start()
        self.mdms.start()
        self.adcs.start()
        self.schedules.start()
        self.css.start()
        if self.website is not None:
            self.website.start()

    async def close(self) -> None:
        """Stop every task and timer of the utility and let go of the database."""
        if self.website is not None:
            await self.website.close()
        await self.css.close()
        await self.schedules.close()
        await self.adcs.close()
        self.mdms.close()
        self.told_weather.close()
        self._engine.dispose()


def _website() -> type[Website]:
    """The website brings its tables to the database, and libraries that nobody else needs: only where one is wanted."""
    from twins.utility.website.website import Website

    return Website
