"""Medians over the rounds, as tables and as JSON."""

from dataclasses import asdict
from statistics import median

from bench.contender import Contender
from bench.load import Sample
from bench.workload import Workload


class Results:
    """Everything measured in one run."""

    def __init__(self) -> None:
        self.rounds: dict[tuple[str, int, str], list[Sample]] = {}
        self.memory: dict[str, list[dict[str, int]]] = {}

    def add(self, workload: Workload, clients: int, contender: Contender, sample: Sample) -> None:
        self.rounds.setdefault((workload.name, clients, contender.name), []).append(sample)

    def middle(self, workload: Workload, clients: int, contender: str, figure: str) -> float | None:
        """The median of that figure of a Sample, None where it was not measured."""
        samples = self.rounds.get((workload.name, clients, contender))
        return median(getattr(sample, figure) for sample in samples) if samples else None

    def ratio(self, workload: Workload, clients: int, one: str, other: str) -> float | None:
        """CPU of one against another: the median of the ratios within each round, so that drift drops out."""
        above, below = (self.rounds.get((workload.name, clients, name)) for name in (one, other))
        if above is None or below is None:
            return None
        return median(a.cpu_us / b.cpu_us for a, b in zip(above, below, strict=True))

    def others(self) -> float:
        """The share of the machine that went elsewhere while we measured."""
        return median(sample.others for samples in self.rounds.values() for sample in samples)

    def json(self) -> list[dict]:
        return [
            {"workload": workload, "clients": clients, "contender": contender, "rounds": [asdict(s) for s in samples]}
            for (workload, clients, contender), samples in self.rounds.items()
        ]


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table whose columns line up."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join("| " + " | ".join(_aligned(line, widths)) + " |" for line in [head, rule, *rows])


def _aligned(line: list[str], widths: list[int]) -> list[str]:
    return [line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]


def number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


RATIOS = [
    *(("ours", other) for other in ("before", "peer", "handler", "flushing")),
    *(
        ("ours-daemon", other)
        for other in ("before-daemon", "peer-daemon", "uwsgi", "granian", "gunicorn", "passenger")
    ),
    ("ours-daemon-2", "peer-daemon-2"),
]


def cpu_table(results: Results, cells: list[tuple[Workload, int]], contenders: list[Contender]) -> str:
    rows = []
    for workload, clients in cells:
        row = [workload.title, str(clients)]
        row += [number(results.middle(workload, clients, one.name, "cpu_us"), ".1f") for one in contenders]
        rows.append(row)
    return table(["CPU µs per request", "clients", *(one.title for one in contenders)], rows)


def ratio_table(results: Results, cells: list[tuple[Workload, int]], contenders: list[Contender]) -> str:
    titles = {contender.name: contender.title for contender in contenders}
    pairs = [pair for pair in RATIOS if {*pair} <= {*titles}]
    rows = []
    for workload, clients in cells:
        row = [workload.title, str(clients)]
        row += [number(results.ratio(workload, clients, one, other), ".2f") for one, other in pairs]
        rows.append(row)
    return table(["CPU", "clients", *(f"{titles[one]} / {titles[other]}" for one, other in pairs)], rows)


def side_table(results: Results, cells: list[tuple[Workload, int]], contenders: list[Contender]) -> str:
    """Throughput and latency, which depend on what else the machine does."""
    rows = []
    for workload, clients in cells:
        row = [workload.title, str(clients)]
        for contender in contenders:
            names = ("per_second", "p50_us", "p99_us")
            row.append(
                " ".join(number(results.middle(workload, clients, contender.name, name), ".0f") for name in names)
            )
        rows.append(row)
    return table(["requests/s, p50 µs, p99 µs", "clients", *(contender.title for contender in contenders)], rows)


def memory_table(results: Results, contenders: list[Contender]) -> str:
    rows = []
    for contender in contenders:
        samples = results.memory[contender.name]
        rows.append([contender.title] + [f"{median(s[name] for s in samples):.0f}" for name in samples[0]])
    head = ["all processes, KB", "number", "PSS", "private", "RSS", "largest PSS", "ms to first reply"]
    return table(head, rows)
