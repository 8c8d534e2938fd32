"""Keywords of the utility's website: who sits at the browser, and pictures of what they see for the record."""

from __future__ import annotations

from robot.api.deco import keyword, library

from bench.certify import session


@library(scope="GLOBAL")
class website_browser:  # noqa: N801 - Robot finds a library's class by the file's name
    """One browser for the run, started by the first keyword that needs it and closed at the run's end."""

    @keyword
    def representative_signs_in_at_the_website(self) -> None:
        """The first representative of the bench file sits down at the browser."""
        bench = session().bench
        login = bench.config.utility.website.representatives[0].login
        session().browsing.sign_in(login, bench.password(login))

    @keyword
    def customer_signs_in_at_the_website(self) -> None:
        """The first customer of the bench file sits down at the browser."""
        bench = session().bench
        login = bench.config.utility.customers[0].id
        session().browsing.sign_in(login, bench.password(login))

    @keyword
    def keep_a_picture(self, name: str) -> None:
        """A picture of the page as it stands goes into the record, under `website/`."""
        session().browsing.picture(name)
