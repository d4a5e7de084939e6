"""`mdflow quickstart`, the job behind `make demo`, at a few steps."""

import json

from mdflow.commands import main, quickstart
from teachers import load


def test_every_stage_is_measured_and_its_weights_are_kept(tmp_path, monkeypatch, capsys):
    for name, steps in {"PRETRAIN": 3, "STUDENT": 1, "TEACHER": 1, "ADAPT": 2}.items():
        monkeypatch.setattr(quickstart, f"{name}_STEPS", steps)
    monkeypatch.setattr(quickstart, "TEST_PAIRS", 1)
    data = quickstart.SHARED["data"] | {"workers": 0}
    data["synthetic"] = data["synthetic"] | {"length": 2}
    monkeypatch.setitem(quickstart.SHARED, "data", data)
    run = tmp_path / "run"
    assert main(["quickstart", "-o", str(run)]) == 0
    table = (run / "result.txt").read_text()
    assert table in capsys.readouterr().out
    errors = {line[:39].strip(): float(line[39:].split()[0]) for line in table.splitlines()[2:]}
    assert len(errors) == 8
    assert errors["FastFlowNet, as shipped"] < 0.5 * errors["zero flow"] < errors["FastFlowNet, untrained"]
    for name, network in {"teacher": "fastflownet", "student": "raft_small", "adapted": "fastflownet"}.items():
        assert load(network, run / f"{name}.safetensors") is not None
    stages = [json.loads(line)["stage"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {"pretrain", "round1_student", "round1_teacher"} <= set(stages)
    assert (run / "adapt" / "metrics.jsonl").exists()
    assert main(["quickstart", "-o", str(run)]) == 2
    assert "holds a run already" in capsys.readouterr().err
    # As after a stop in the last turn of the networks that teach each other.
    for path in (run / "checkpoints").glob("last_round1_teacher*"):
        path.unlink()
    (run / "result.txt").unlink()
    assert main(["quickstart", "-o", str(run), "--resume"]) == 0
    assert (run / "result.txt").read_text() == table
