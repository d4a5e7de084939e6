from mdflow.commands import main


def test_costs_and_checkpoints_are_listed(capsys):
    assert main(["networks", "lightflow", "raft_mdflow", "zero", "--size", "64x128"]) == 0
    costs, checkpoints, _ = capsys.readouterr().out.split("\n\n")
    rows = {line.split()[0]: line.split()[1:] for line in costs.splitlines()[2:]}
    assert rows["lightflow"][:2] == ["2.54", "M"]
    assert rows["raft_mdflow"][-1] == "8"
    assert rows["zero"] == ["-", "-", "1"]
    assert [line.split()[0] for line in checkpoints.splitlines()[2:]] == ["lightflow", "raft_mdflow"]
    assert "EPE 3.45" in checkpoints


def test_early_stops_do_not_lower_the_count_of_deqflow(capsys):
    assert main(["networks", "deqflow", "--size", "64x64"]) == 0
    assert "5.24 M" in capsys.readouterr().out


def test_an_unknown_network_is_answered_with_the_known_ones(capsys):
    assert main(["networks", "nobody"]) == 2
    assert "expected one of fastflownet, raft" in capsys.readouterr().err


def test_what_shipped_weights_do_beside_what_is_counted_is_said(capsys):
    assert main(["networks", "fastflownet", "--size", "64x64"]) == 0
    assert (
        "Weights that come with mdflow: fastflownet (fine_iterations=1: not counted above)." in capsys.readouterr().out
    )
