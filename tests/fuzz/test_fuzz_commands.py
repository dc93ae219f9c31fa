import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.driving import assert_ends_well, empty_folder
from tests.fuzz.nasty import changed_text, fuzzed, sized, texts

TABLE = "lr,loss,kind,seed\n" + "\n".join(
    f"{rate},{0.1 + abs(index - 2) * 0.1 + seed * 0.01},{kind},{seed}"
    for kind in ("a", "b")
    for index, rate in enumerate((0.001, 0.01, 0.1, 1.0))
    for seed in (0, 1)
)

VALID: dict[str, list[str]] = {
    "plot": ["plot", "damped_cosine", "exponent=2", "warmup=0.05", "wsd", "cooldown=0.1", "--steps", "100", "-o", "a.svg"],
    "plot in the terminal": ["plot", "cosine", "step", "milestones=(0.5,0.75)", "--terminal", "--steps", "50"],
    "list": ["list"],
    "report": ["report", "--results", "results", "--report", "report", "--runs", "runs", "--all"],
    "run": ["run", "mine.py", "--workers", "1", "--results", "results", "--report", "report", "--smoke"],
    "robustness": [
        "robustness", "runs.csv", "--lr", "lr", "--loss", "loss", "--by", "kind", "--seed", "seed", "--window", "0.001:1",
        "--initial-loss", "2.3", "--optimum", "0", "--report", "page",
    ],
    "advise": ["advise", "--budget", "8", "--decades", "4", "--task-kind", "convex", "--report", "report", "--results", "results"],
    "advise by runs": [
        "advise", "--grid-ratio", "10", "--runs", "runs.csv", "--lr", "lr", "--loss", "loss", "--by", "kind", "--seed", "seed", "--json",
    ],
    "search": ["search", "train.py:train", "space.yaml", "--trials", "2", "--workers", "0", "--directory", "search"],
    "search-schedule": ["search-schedule", "--schedule", "damped_cosine", "--task", "no_such_task", "--trials", "2"],
}  # fmt: skip

QUICK = ("plot in the terminal", "list", "report", "run", "advise", "search-schedule")
"""Those that neither draw nor import much."""


@st.composite
def command_lines(draw: st.DrawFn, name: str) -> list[str]:
    """A valid command line with a few words replaced, changed, dropped, doubled or exchanged; the command stays."""
    command, *words = VALID[name]
    for _ in range(draw(st.integers(1, 3))):
        if not words:
            words = [draw(texts)]
        index = draw(st.integers(0, len(words) - 1))
        how = draw(st.sampled_from(("replace", "change", "change", "drop", "double", "swap", "set", "set")))
        if how == "replace":
            words[index] = draw(texts)
        elif how == "change":
            words[index] = draw(changed_text(words[index], most=1))
        elif how == "set":
            head, sign, _ = words[index].partition("=")
            words[index] = head + (sign or "=") + draw(texts)
        elif how == "drop":
            del words[index]
        elif how == "double":
            words.insert(index, words[index])
        else:
            other = draw(st.integers(0, len(words) - 1))
            words[index], words[other] = words[other], words[index]
    return [command, *(word.replace("\0", "") for word in words)]  # no system hands a zero byte over


def leads_out(words: list[str]) -> bool:
    """Whether it might write or wait outside of the folder, or do a long search in earnest."""
    risky = any(word.startswith("/") or ".." in word or "/dev" in word or "/proc" in word for word in words)
    earnest = "--trials" in words and any(word.isdecimal() and int(word[:9]) > 9 for word in words)
    return risky or earnest


def assert_ends(words: list[str]) -> None:
    with empty_folder() as folder:
        (folder / "runs.csv").write_text(TABLE)
        (folder / "mine.py").write_text("x = 1\n")
        (folder / "train.py").write_text("def train(trial):\n    return trial['x'] ** 2\n")
        (folder / "space.yaml").write_text("x: {low: 0.1, high: 1.0}\n")
        assert_ends_well(words)


@fuzzed(1, 120)
def test_a_changed_command_line_ends_in_a_result_or_one_line(examples: int) -> None:
    for name in VALID if examples > 1 else QUICK:

        @sized(examples)
        @given(command_lines(name))
        def check(words: list[str]) -> None:
            if not leads_out(words):
                assert_ends(words)

        check()


DRAWN = [pytest.param(name, marks=pytest.mark.slow) for name in ("plot", "robustness")]


@pytest.mark.parametrize("name", ["plot in the terminal", "advise", "advise by runs", *DRAWN])
def test_the_valid_command_lines_are_valid(name: str) -> None:
    with empty_folder() as folder:
        (folder / "runs.csv").write_text(TABLE)
        assert not assert_ends_well(VALID[name]).startswith("error")


@fuzzed(3, 400)
def test_any_words_end_in_a_result_or_one_line(examples: int) -> None:
    @sized(examples)
    @given(
        st.lists(st.one_of(texts, st.sampled_from([word for words in VALID.values() for word in words])), max_size=8)
    )
    def check(words: list[str]) -> None:
        words = [word.replace("\0", "") for word in words]
        if not leads_out(words):
            assert_ends(words)

    check()
