"""What the benchmark of machines that come and go reads and kills; the machines themselves take minutes to start."""

import subprocess
import sys

from benchmarks.elastic import Group, family, groups

LOG = """
  group_world_size=1
pretrain:   0%| | 0/36 [00:00<?]
pretrain:  33%| | 8/36 [00:20<?]
  group_world_size=2
  group_world_size=2
pretrain:  22%| | 8/36 [00:00<?]
pretrain:  39%| | 14/36 [00:30<?]
"""


def test_who_trained_from_where_to_where_is_read_from_the_log():
    assert groups(LOG, 36) == [Group(1, 0, 8), Group(2, 8, 14)]


def test_a_machine_is_a_process_and_all_that_it_started_in_other_sessions_too():
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'], start_new_session=True)"
    process = subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE)
    while len(found := family(process.pid)) < 2:
        assert process.poll() is None
    assert found[0] == process.pid
    assert len(set(found)) == 2
    process.communicate(b"\n")
    assert process.returncode == 0
