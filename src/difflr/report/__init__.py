"""Numbers first, then their text, then their pictures.

Nothing here is needed to train; matplotlib is imported when something is drawn.
"""

from difflr.report.summary import summary
from difflr.report.plan_picture import plot_plan
from difflr.report.schedule_picture import plot_schedule
from difflr.report.rate_map import plot_rate_map
from difflr.report.phases_chart import plot_phases
from difflr.report.log_picture import plot_log
from difflr.report.run_record import read_report
from difflr.report.run_page import write_report

__all__ = [
    "summary",
    "plot_plan",
    "plot_schedule",
    "plot_rate_map",
    "plot_phases",
    "plot_log",
    "read_report",
    "write_report",
]
