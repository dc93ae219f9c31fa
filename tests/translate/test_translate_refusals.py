from collections.abc import Callable

import pytest
import torch

from adaptive_lr import AbstractSchedule, SpecError, from_timm, from_torch, from_transformers

Call = Callable[[], AbstractSchedule]

ERRORS: list[tuple[Call, str]] = [
    (lambda: from_torch("CosineAnealingLR", total_steps=10), "did you mean 'CosineAnnealingLR'"),
    (lambda: from_torch("StepLR", step_sise=3, total_steps=10), "unknown argument of StepLR.*did you mean 'step_size'"),
    (lambda: from_torch("StepLR", total_steps=10), "StepLR needs the argument 'step_size'"),
    (lambda: from_torch("StepLR", step_size=2.5, total_steps=10), "step_size must be a whole number"),
    (lambda: from_torch("StepLR", step_size=2, gamma=1.5, total_steps=10), r"StepLR.gamma must lie in \(0, 1\]"),
    (lambda: from_torch("StepLR", step_size=2, last_epoch=3, total_steps=10), "StepLR.last_epoch cannot be translated"),
    (lambda: from_torch("StepLR", step_size=2, total_steps=0), "total_steps must be"),
    (lambda: from_torch("LambdaLR", total_steps=10), "LambdaLR cannot be translated: a function"),
    (lambda: from_torch("SequentialLR", total_steps=10), "put them into a Sequence"),
    (lambda: from_torch(torch.optim.SGD, total_steps=10), "SGD is no scheduler"),
    (lambda: from_torch("MultiStepLR", milestones="ab", total_steps=10), "milestones must be a sequence"),
    (lambda: from_torch("CosineAnnealingLR", T_max=10, eta_min=0.1, total_steps=10), "eta_min.*give base_lr"),
    (
        lambda: from_torch("CosineAnnealingLR", T_max=10, eta_min=0.1, base_lr=0.01, total_steps=10),
        "eta_min must be at most base_lr=0.01",
    ),
    (lambda: from_torch("OneCycleLR", max_lr=0.1, base_lr=0.1, total_steps=10), "cycle_momentum"),
    (
        lambda: from_torch("OneCycleLR", max_lr=0.1, cycle_momentum=False, total_steps=100),
        "max_lr is a learning rate: give base_lr",
    ),
    (
        lambda: from_torch("OneCycleLR", max_lr=1.0, base_lr=0.1, cycle_momentum=False, total_steps=100),
        "max_lr must be at most base_lr",
    ),
    (
        lambda: from_torch("OneCycleLR", max_lr=0.1, base_lr=0.1, cycle_momentum=False, pct_start=0.1, total_steps=10),
        "pct_start cannot be translated: the peak",
    ),
    (lambda: from_torch("CyclicLR", max_lr=0.1, cycle_momentum=False, total_steps=9), "needs the argument 'base_lr'"),
    (
        lambda: from_torch("CyclicLR", max_lr=[0.1], base_lr=0.1, cycle_momentum=False, total_steps=9),
        "max_lr must be one number",
    ),
    (
        lambda: from_torch("CyclicLR", max_lr=0.1, base_lr=0.1, scale_fn=abs, total_steps=9),
        "scale_fn cannot be translated",
    ),
    (lambda: from_torch("ReduceLROnPlateau", eps=1e-3, total_steps=9), "eps cannot be translated"),
    (lambda: from_torch("ReduceLROnPlateau", mode="mix", total_steps=9), "unknown mode of ReduceLROnPlateau"),
    (lambda: from_transformers("cosin", total_steps=9), "did you mean 'cosine'"),
    (lambda: from_transformers("greedy", total_steps=9), "greedy cannot be translated"),
    (lambda: from_transformers("cosine_with_min_lr", num_warmup_steps=1, total_steps=9), "exactly one of min_lr"),
    (
        lambda: from_transformers("cosine_warmup_with_min_lr", num_warmup_steps=0, min_lr_rate=0.1, total_steps=9),
        "num_warmup_steps cannot be translated",
    ),
    (lambda: from_transformers("polynomial", num_warmup_steps=1, total_steps=9), "lr_end is a learning rate"),
    (
        lambda: from_transformers(
            "warmup_stable_decay", num_warmup_steps=1, num_decay_steps=1, warmup_type="1-sqrt", total_steps=9
        ),
        "warmup_type cannot be translated",
    ),
    (
        lambda: from_transformers("get_wsd_schedule", num_warmup_steps=5, num_decay_steps=5, total_steps=9),
        "5 steps of warm-up and 5 of decay are more than 9",
    ),
    (lambda: from_timm("cosin", t_initial=9, total_steps=9), "did you mean 'cosine'"),
    (lambda: from_timm("wsd", total_steps=9), "Warmup and WSD"),
    (lambda: from_timm("cosine", t_initial=9, noise_range_t=3, total_steps=9), "noise_range_t cannot be translated"),
    (lambda: from_timm("cosine", t_initial=90, warmup_t=50, total_steps=90), "warmup_prefix cannot be translated"),
    (lambda: from_timm("cosine", t_initial=90, lr_min=0.1, total_steps=90), "lr_min is a learning rate"),
    (
        lambda: from_timm(
            "cosine", t_initial=9, lr_min=0.6, cycle_decay=0.5, cycle_limit=2, base_lr=1.0, total_steps=90
        ),
        "cycle_decay cannot be translated: the peak",
    ),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_what_cannot_be_translated_is_said(call: Call, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        call()


def test_arguments_without_effect_pass() -> None:
    assert from_torch("StepLR", step_size=2, last_epoch=-1, verbose=False, total_steps=4) == from_torch(
        "StepLR", step_size=2, total_steps=4
    )
    plain = from_timm("cosine", t_initial=9, total_steps=9)
    assert plain == from_timm("cosine", t_initial=9, total_steps=9, t_in_epochs=False, noise_seed=1, initialize=True)
