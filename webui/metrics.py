"""`/metrics`: what a Prometheus scrapes, with a token of a viewer."""

from collections.abc import Iterable, Sequence

from flask import Blueprint, Response, request
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from appliance.figures import Family
from webui.access import Role, needs
from webui.context import services

area = Blueprint("metrics", __name__)

PREFIX = "distserver_"


class Figures(Collector):
    """Hands over what was counted for this one answer."""

    def __init__(self, families: Sequence[Family]) -> None:
        self.families = families

    def collect(self) -> Iterable[Metric]:
        for family in self.families:
            made = GaugeMetricFamily(PREFIX + family.name, family.text, labels=family.labels)
            for labels, value in sorted(family.samples.items()):
                made.add_metric(labels, value)
            yield made


@area.get("/metrics")
@needs(Role.VIEWER)
def metrics() -> Response:
    registry = CollectorRegistry()
    registry.register(Figures(services().figures.families()))
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(registry), content_type=content_type)
