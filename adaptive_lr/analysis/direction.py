"""Whether less or more of a metric is better, and names that give it away."""

from __future__ import annotations

import re

from adaptive_lr.errors import InputError

DIRECTIONS = ("minimize", "maximize")

_MORE_IS_BETTER = frozenset(
    [
        "acc",
        "accs",
        "accuracy",
        "accuracies",
        "f",
        "f1",
        "fscore",
        "f1score",
        "auc",
        "auroc",
        "roc",
        "auprc",
        "prauc",
        "iou",
        "miou",
        "dice",
        "score",
        "scores",
        "reward",
        "rewards",
        "return",
        "returns",
        "bleu",
        "rouge",
        "meteor",
        "cider",
        "r2",
        "map",
        "ap",
        "precision",
        "recall",
        "sensitivity",
        "specificity",
        "psnr",
        "ssim",
        "top",
        "hits",
        "mrr",
        "ndcg",
        "correct",
        "win",
        "wins",
        "winrate",
        "elo",
        "pass",
        "success",
        "kappa",
        "mcc",
        "em",
        "likelihood",
        "elbo",
        "pearson",
        "spearman",
        "correlation",
    ]
)
_LESS_IS_BETTER = frozenset(
    [
        "loss",
        "losses",
        "error",
        "errors",
        "err",
        "nll",
        "neg",
        "negative",
        "ppl",
        "perplexity",
        "mse",
        "rmse",
        "mae",
        "mape",
        "distance",
        "regret",
        "cost",
        "bpb",
        "bpc",
        "fid",
    ]
)
METRICS = _MORE_IS_BETTER | _LESS_IS_BETTER
"""Words by which a column is known as a metric."""


def checked_direction(text: str | None) -> str | None:
    """The direction itself.

    Raises:
        InputError: it is neither of the two.
    """
    if text is not None and text not in DIRECTIONS:
        raise InputError(f"--direction is minimize or maximize, got {text!r}")
    return text


def words_of(name: str) -> list[str]:
    """The words of a column's name, without capitals and numbers at their end.

    >>> words_of("eval/mIoU_top5"), words_of("valAccuracy")
    (['eval', 'miou', 'm', 'io', 'u', 'top'], ['valaccuracy', 'val', 'accuracy'])
    """
    words: list[str] = []
    for part in re.split(r"[^A-Za-z0-9]+", name):
        inner = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", part).split()
        for word in (part, *(inner if len(inner) > 1 else ())):
            plain = word.lower()
            words.append(plain if plain in _MORE_IS_BETTER else plain.rstrip("0123456789"))
    return [word for word in words if word]


def doubt(name: str, direction: str | None) -> str | None:
    """A sentence, where a metric's name says that more is better and nobody has said which way it goes."""
    words = set(words_of(name))
    if direction is not None or words & _LESS_IS_BETTER or not words & _MORE_IS_BETTER:
        return None
    return (
        f"{name} reads like a metric of which more is better, but was read as a loss, of which less is: everything below is then "
        "upside down. Say --direction maximize, or --direction minimize if it is one."
    )
