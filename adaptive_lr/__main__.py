"""``python -m adaptive_lr`` is ``adaptive-lr``."""

from adaptive_lr.cli import app

if __name__ == "__main__":
    app(prog_name="adaptive-lr")
