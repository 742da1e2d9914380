"""Reads a JSON array of AuditEvents with fhir.resources (R4B); prints how many it takes, and what of spoilt ones."""
import copy
import json
import sys

from fhir.resources.R4B.auditevent import AuditEvent

events = json.load(open(sys.argv[1], encoding="utf-8"))
invalid = []
for at, event in enumerate(events):
    try:
        AuditEvent.parse_obj(event)
    except Exception as error:  # the library raises what pydantic does
        invalid.append(f"{at}: {str(error)[:300]}")


def spoil(name, change):
    event = copy.deepcopy(events[0])
    change(event)
    try:
        AuditEvent.parse_obj(event)
        accepted.append(name)
    except Exception:
        pass


accepted = []
WAYS = {
    "no type": lambda e: e.pop("type"),
    "no recorded": lambda e: e.pop("recorded"),
    "no agent": lambda e: e.pop("agent"),
    "no source": lambda e: e.pop("source"),
    "agent without requestor": lambda e: e["agent"][0].pop("requestor"),
    "unknown element": lambda e: e.update(who="me"),
    "time without zone": lambda e: e.update(recorded="2026-08-20"),
    "two values in an extension": lambda e: e["extension"][0].update(valueInteger=1, valueString="1"),
}
for name, change in WAYS.items():
    spoil(name, change)
print(json.dumps({"valid": len(events) - len(invalid), "invalid": invalid, "spoilt": len(WAYS), "accepted": accepted}))
