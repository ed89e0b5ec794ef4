"""The lender's own loan book: where it is, whether it keeps the feature contract, and its rows as arrays."""

from jointrisk_node.data.book import LoanBook, Progress
from jointrisk_node.data.report import Breach, CheckReport, Rule
from jointrisk_node.data.settings import DataSettings
from jointrisk_node.data.table import LoanTable

__all__ = ["Breach", "CheckReport", "DataSettings", "LoanBook", "LoanTable", "Progress", "Rule"]
