"""Metrics: the counts of an application in the text format of Prometheus. Needs the extra
`metrics`.

    reunite_requests_total             by operation and status
    reunite_refusals_total             requests that were refused, by code and limit
    reunite_changes_refused_total      pushed changes that were refused, by code
    reunite_request_seconds            how long answers took, but for streams and pulls that wait
    reunite_received_bytes_total, reunite_sent_bytes_total
    reunite_requests_under_way, reunite_streams, reunite_held_bytes
    process_…                          what prometheus-client tells of the process

The rule         no label holds a user, a tenant, a table or anything else that a client chose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from reunite.errors import CallerError
from reunite.server.visits import SECONDS, Counts

try:
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.exposition import CONTENT_TYPE_LATEST
except ImportError as exc:
    raise CallerError(
        "Metrics need the package prometheus-client: pip install 'reunite[metrics]'."
    ) from exc

MEDIA_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The counts of one application, and its gauges by name."""

    def __init__(
        self, counts: Counts, gauges: Mapping[str, tuple[str, Callable[[], float]]]
    ) -> None:
        self._counts = counts
        self._gauges = gauges
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """All of it, as it is now."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """For the registry."""
        counts = self._counts
        yield _counter(
            "reunite_requests",
            "Requests that were answered.",
            ("operation", "status"),
            {(name, str(status)): n for (name, status), n in counts.requests.copy().items()},
        )
        yield _counter(
            "reunite_refusals",
            "Requests that were refused.",
            ("code", "limit"),
            dict(counts.refusals),
        )
        yield _counter(
            "reunite_changes_refused",
            "Pushed changes that were refused.",
            ("code",),
            {(code,): n for code, n in counts.changes_refused.copy().items()},
        )
        yield _seconds(counts)
        yield CounterMetricFamily("reunite_received_bytes", "Bytes of bodies.", counts.bytes_in)
        yield CounterMetricFamily("reunite_sent_bytes", "Bytes of answers.", counts.bytes_out)
        for name, (text, read) in self._gauges.items():
            yield GaugeMetricFamily(name, text, read())


def _counter(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def _seconds(counts: Counts) -> Metric:
    family = HistogramMetricFamily(
        "reunite_request_seconds", "How long answers took.", labels=("operation",)
    )
    for operation, classes in sorted(counts.seconds.copy().items()):
        total, buckets = 0, []
        for bound, count in zip((*map(str, SECONDS), "+Inf"), list(classes), strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric((operation,), buckets, counts.seconds_total[operation])
    return family
