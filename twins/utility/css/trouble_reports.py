"""Reports of no power in the database: found, read, and their progress written on."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from twins.utility.css.tables import RequestRow
from twins.utility.css.trouble_records import Report, ReportEntry, ReportState
from twins.utility.css.trouble_tables import ReportEntryRow, ReportRow
from twins.utility.errors import NotAccepted, Reason


def row_of(session: Session, report_id: int) -> ReportRow:
    """The report of that id; NotAccepted where there is none."""
    row = session.get(ReportRow, report_id)
    if row is None:
        raise NotAccepted(Reason.UNKNOWN_REPORT, f"CSS: no report {report_id}; log what the customer says first")
    return row


def open_row(session: Session, report_id: int) -> ReportRow:
    """The report of that id; NotAccepted where there is none or it is closed."""
    row = row_of(session, report_id)
    if row.closed_at is not None:
        raise NotAccepted(Reason.NOT_POSSIBLE_NOW, f"CSS: report {report_id} is closed; log a new one")
    return row


def report_of(session: Session, row: ReportRow) -> Report:
    """A report with its progress."""
    request = session.get_one(RequestRow, row.request_id)
    entries = session.scalars(
        select(ReportEntryRow).where(ReportEntryRow.report_id == row.id).order_by(ReportEntryRow.id)
    ).all()
    return Report(
        report_id=row.id,
        request_id=row.request_id,
        account_number=row.account_number,
        name=request.name,
        address=request.address,
        channel=request.channel,
        reported_at=row.reported_at,
        since=row.since,
        text=row.text,
        credentials_presented=request.credentials_presented,
        state=ReportState(row.state),
        closed_at=row.closed_at,
        progress=tuple(ReportEntry(e.at, ReportState(e.state), e.by, e.note) for e in entries),
    )


def write(session: Session, row: ReportRow, at: datetime, state: ReportState, by: str, note: str) -> None:
    """Bring a report to a state, with a line of its progress."""
    row.state = state
    session.add(ReportEntryRow(report_id=row.id, at=at, state=state, by=by, note=note))
    session.flush()
