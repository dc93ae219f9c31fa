"""Searches: hyperparameters of any function, on one machine or many; no finished run is ever lost or repeated.

The public names stand in ``__init__.pyi``; each is imported on first use, since a worker process needs none of them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
