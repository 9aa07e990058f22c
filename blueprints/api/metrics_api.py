"""``/metrics``: figures for Prometheus."""

from flask import Blueprint, Response

from blueprints.access import metrics_api
from services import metrics

bp = Blueprint("metrics", __name__)


@bp.get("/metrics")
@metrics_api
def scrape() -> Response:
    """All figures in Prometheus’s text form."""
    return Response(metrics.text(), content_type=metrics.CONTENT_TYPE)
