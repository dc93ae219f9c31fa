"""How much does the loss of a language model depend on its peak learning rate, in runs that others recorded?"""

import os
from pathlib import Path

from adaptive_lr.analysis.recorded import Request
from adaptive_lr.experiment.recorded import RecordedRuns, RecordedStudy

BESIDE = Path(__file__).parents[2] / "shared/data/llm-curves"
"""A folder beside the repository; the environment variable ADAPTIVE_LR_LLM_CURVES points to another one."""

COINCIDENTAL = ("cooldown_shape", "cooldown_fraction", "final_lr_setting", "last_logged_lr_ratio", "schedule")
"""What the label says already; where they vary inside a label, the setting had no effect (the cooldown of a constant rate)."""


def study(steps: int, high: float) -> RecordedStudy:
    """All schedules of the model with 124 million parameters on SlimPajama at one horizon."""
    return RecordedStudy(
        name=f"slimpajama-{steps}",
        title=f"124 million parameters, SlimPajama, {steps} steps",
        file="convex-agreement/runs.csv",
        request=Request(
            rate="peak_lr",
            loss="final_val_loss",
            by=("label",),
            seed="seed",
            where=(("dataset", "slimpajama"), ("parameters", "123587328"), ("total_steps", str(steps))),
            ignore=COINCIDENTAL,
            initial=10.8,
            window=(1e-4, high),
        ),
    )


EXPERIMENT = RecordedRuns(
    name="e06_recorded_language_models",
    title="Language models: how much depends on the peak rate?",
    question=(
        "In recorded training runs of language models, how much does the final loss depend on the peak learning rate, and does the "
        "schedule change that?"
    ),
    folder=Path(os.environ.get("ADAPTIVE_LR_LLM_CURVES", BESIDE)),
    absent=(
        "The recorded runs are not part of this repository; point ADAPTIVE_LR_LLM_CURVES to a folder that holds the file, with the "
        "columns dataset, parameters, total_steps, label, peak_lr, seed and final_val_loss."
    ),
    about=(
        "Runs of Llama-style models that others recorded: the public repository fabian-sp/lr-scheduling (MIT) of Schaipp et al. 2025, "
        "arXiv:2501.18965. Nothing was trained here.",
        "The validation loss before training is about 10.8. One run at 0.005 (cosine to 0, 50 000 steps) went wrong and ended at 7.585; it "
        "lies outside the window. Some annealed runs continue a constant run, so that groups share their first part.",
        "At 15 000 and 35 000 steps, and for the other sizes, there are at most three rates for each schedule and most best ones lie at the edge: "
        "they are not shown.",
    ),
    studies=[study(50_000, 3e-3), study(25_000, 2e-3)],
)
