"""Tables, plots and reports: first the numbers, then what shows them.

Nothing here is needed to train; matplotlib is imported when something is drawn.
"""

from difflr.report.summary import summary
from difflr.report.plot_plan import plot_plan
from difflr.report.plot_schedule import plot_schedule
from difflr.report.plot_rate_map import plot_rate_map
from difflr.report.plot_phases import plot_phases
from difflr.report.plot_log import plot_log
from difflr.report.read_report import read_report
from difflr.report.write_report import write_report
from difflr.report.evaluation import evaluation
from difflr.report.data_summary import DataSummary

__all__ = [
    "summary",
    "plot_plan",
    "plot_schedule",
    "plot_rate_map",
    "plot_phases",
    "plot_log",
    "read_report",
    "write_report",
    "evaluation",
    "DataSummary",
]
