"""Reports: made by people, seen to by admins."""

from api.route import Call
from hub.domain import reports
from protocol.rest.reports import Report, Reported, ReportRequest, Reports, ReportsQuery


async def add(call: Call[ReportRequest, None]) -> Reported:
    """Report a person, a question, an answer or a message of a room to the admins."""
    d, user_id, body = call.domain, call.person.user_id, call.body
    return await call.change(Reported, lambda change: reports.report(d, change, user_id, body))


async def listed(call: Call[None, ReportsQuery]) -> Reports:
    """Reports that are open, or closed, oldest first."""
    return await reports.page(call.domain, call.query)


async def close(call: Call[None, None]) -> Report:
    """Close a report."""
    d, admin, id = call.domain, call.person.user_id, call.path["id"]
    return await call.change(Report, lambda change: reports.close(d, change, admin, id))
