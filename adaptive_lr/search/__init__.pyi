# The public names of the package; __init__.py imports each on first use.

from .function import search
from .result import SearchResult, TrialRecord
from .space import Space
from .study import Progress
from .task import SearchTrial

__all__ = ["Progress", "SearchResult", "SearchTrial", "Space", "TrialRecord", "search"]
