"""The page of a sweep: one offline file that opens with the answer."""

from pretrain.sweeps.report.page import write_report

__all__ = ["write_report"]
