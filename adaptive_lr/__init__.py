"""Damping in learning-rate schedules: analytic, adaptive and meta-learned.

The public names stand in ``__init__.pyi``; they are imported on first use, so that ``adaptive-lr --help`` need not wait for
torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
