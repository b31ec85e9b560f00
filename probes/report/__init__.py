"""One offline HTML page of runs and of what the probes found; the folder's files are what a page is made of."""

from probes.report.metrics import Metrics
from probes.report.page import write_page, write_report

__all__ = ["Metrics", "write_page", "write_report"]
