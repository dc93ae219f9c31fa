"""``adaptive-lr learn``, from nothing to lines that can be used."""

import json
import pathlib
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

import adaptive_lr
from adaptive_lr import ControlledLR, DampedCosine, LearnedDamping, ProgressAnchor
from adaptive_lr.cli import app
from adaptive_lr.controllers.learned_damping import PHASES, READINGS

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cosine is tuned once."""
    return tmp_path_factory.mktemp("results")


def call(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, ["learn", *arguments])


def learned(results: Path, *arguments: str, tasks: str = "2", steps: str = "1000") -> Result:
    tiny = ["--tasks", tasks, "--at-once", "1", "--workers", "1", "--steps", steps, "--results", str(results)]
    result = call(*arguments, *tiny)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert not Path("results").exists()  # before anything is trained
    return result.stderr


def used(result: Result) -> dict[str, Any]:
    """What the lines that were printed make."""
    lines = result.stdout.split("to use it:\n")[1]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    names: dict[str, Any] = {
        "adaptive_lr": adaptive_lr,
        "pathlib": pathlib,
        "json": json,
        "optimizer": optimizer,
        "T": 90,
    }
    exec(lines, names)
    assert isinstance(names["scheduler"], ControlledLR)
    return names


def test_a_policy_is_learned_and_used(results: Path) -> None:
    result = learned(results, "-o", "folder/policy.json")
    assert "tasks and horizons, " in result.stdout
    assert "trials of a cosine, 0 of them finished before" in result.stdout
    assert "tuning the cosine: 100 %" in result.stderr
    assert "learning: 100 %, generation 1, J " in result.stderr
    assert "constant, early: -0.6 → " in result.stdout
    content = json.loads(Path("folder/policy.json").read_text())
    assert (content["format"], content["readings"], content["phases"]) == (1, list(READINGS), list(PHASES))
    controller = used(result)["controller"]
    assert controller == LearnedDamping(weights=tuple(content["weights"]))
    assert controller != LearnedDamping()
    about = content["learned"]
    assert about["tasks"] == ["random-convex 0..1", "random-network 0..1"]
    assert (about["factors"], about["seeds"]) == ([0.25, 1.0, 4.0], [100, 101, 102])
    assert (about["way"], about["seed"], about["generations"]) == ("evolution", 1, 1)
    assert about["steps"] >= 1000
    assert set(about["J"]) == {"cosine", "start", "end"}
    assert f"{about['J']['end']:.3g} at the end" in result.stdout
    assert about["provenance"]["torch"] == torch.__version__
    assert "worst fifth" in about["objective"]


def test_it_goes_on_to_the_same_end(results: Path) -> None:
    learned(results, tasks="1", steps="1")
    steps = json.loads(Path("policy.json").read_text())["learned"]["steps"]
    more = ["policy", "--seed", "1"]
    result = learned(results, *more, tasks="1", steps=str(steps + 1))
    assert f"going on after 1 generations, {steps:.3g} of" in result.stdout
    assert "trials of a cosine, 26 of them finished before" in result.stdout
    learned(results, *more, "-o", "whole.json", tasks="1", steps=str(steps + 1))
    assert json.loads(Path("policy.json").read_text()) == json.loads(Path("whole.json").read_text())
    again = learned(results, *more, tasks="1", steps=str(steps + 1))
    assert again.stdout.splitlines()[-4:] == result.stdout.splitlines()[-4:]
    refusal = call("policy", "--seed", "2", "--tasks", "1", "--results", str(results), "--workers", "1")
    assert refusal.exit_code == 2
    assert "policy.json.state is of another learning: name another file, or move it away" in refusal.stderr


def test_constants_and_shapes_are_learned_and_used(results: Path) -> None:
    names = used(learned(results, "constants", "--way", "tpe", tasks="1", steps="1"))
    assert isinstance(names["controller"], ProgressAnchor)
    assert names["scheduler"].schedule == DampedCosine()
    content = json.loads(Path("constants.json").read_text())
    assert (set(content), content["learned"]["way"]) == ({"schedule", "controller", "learned"}, "tpe")
    names = used(learned(results, "shape", tasks="1", steps="1"))
    assert names["scheduler"].schedule == adaptive_lr.from_dict(json.loads(Path("shape.json").read_text())["schedule"])
    assert names["scheduler"].schedule != DampedCosine()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["polcy"], "unknown learner 'polcy'; did you mean 'policy'?"),
        (["--way", "tpee"], "unknown way to learn 'tpee'; did you mean 'tpe'?"),
        (["--steps", "0"], "--steps must be a positive number of training steps, such as 1e7, got 0"),
        (["--steps", "-1e6"], "got -1e+06"),
        (["--steps", "nan"], "got nan"),
        (["-o", "policy.yaml"], "what is learned is written as .json, got policy.yaml"),
        (["-o", "file/policy.json"], "cannot make the folder file"),
        (["-o", "folder.json"], "cannot write folder.json: it is a folder"),
    ],
)
def test_mistakes_are_refused_before_anything_is_trained(arguments: list[str], message: str) -> None:
    Path("file").write_text("")
    Path("folder.json").mkdir()
    assert message in refused(*arguments)


@pytest.mark.parametrize("arguments", [["--tasks", "0"], ["--tasks", "4001"], ["--seed", "-1"], ["--workers", "0"]])
def test_numbers_out_of_range_are_refused(arguments: list[str]) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.stderr
    assert not Path("results").exists()


def test_help_says_how_to_go_on() -> None:
    text = " ".join(call("--help").stdout.replace("│", " ").split())
    assert "it goes on where it was" in text
    assert "evolution, in antithetic pairs" in text
