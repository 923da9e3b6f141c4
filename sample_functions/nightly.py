"""Runs by the clock: every night at four in Berlin, in summer and in winter.

    microlam fire nightly                               # now
    microlam fire nightly --time 2026-03-29T01:00:00Z   # as of another time
"""
from datetime import datetime, timedelta

from microlam import schedule


@schedule("cron(0 4 * * ? *)", timezone="Europe/Berlin")
def handler(event, context):
    # The event tells the time it was due, not the time it runs: a report made late is still the right one.
    due = datetime.fromisoformat(event["time"].replace("Z", "+00:00"))
    day = (due - timedelta(days=1)).date()
    print(f"report for {day}, asked for by {event['resources'][0]}")
    return {"report": f"report-{day}.txt"}
