"""What the search for better settings found."""

from labelloop.run.report.files import Files
from labelloop.run.report.numbers import duration, percent, share
from labelloop.run.report.section import Section

_MOST = 10


def build(files: Files) -> Section | None:
    """Show the best trials and what mattered."""
    found = files.search
    if not found.get("trials"):
        return None
    finished = [one for one in found["trials"] if one.get("score") is not None and one.get("state") == "finished"]
    best = sorted(finished, key=lambda one: (-one["score"], one["number"]))[:_MOST]
    names = list(dict.fromkeys(name for one in best for name in one["parameters"]))
    return Section(
        "search",
        "Search",
        "Settings that were tried on the validation pictures, best first. What has little importance may be chosen for "
        "speed.",
        {
            "names": names,
            "rows": [
                {
                    "number": one["number"],
                    "accuracy": share(one["accuracy"]),
                    "values": [str(one["parameters"].get(name, "")) for name in names],
                }
                for one in best
            ],
            "importances": [
                {"name": name, "share": percent(value), "heat": round(value, 3)}
                for name, value in found.get("importances", {}).items()
            ],
            "counts": found.get("counts", {}),
            "seconds": duration(found.get("seconds", 0)),
            "ended": found.get("ended", ""),
        },
    )
