"""Kernels that listen on sockets of their own."""

import tempfile
from pathlib import Path

import pytest

from ssinfnet.engine.kernels import SocketKernelManager


@pytest.mark.parametrize(("extra", "transport"), [("", "ipc"), ("x" * 100, "tcp")])
def test_sockets_lie_in_a_folder_of_their_own_where_its_name_is_short_enough(
    monkeypatch, tmp_path, extra, transport
):
    short = Path(tempfile.mkdtemp(dir="/tmp"))
    folder = short / extra
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    managers = [SocketKernelManager(connection_file=str(tmp_path / f"{n}.json")) for n in "ab"]
    for one in managers:
        one.write_connection_file()
    assert {one.transport for one in managers} == {transport}
    if transport == "ipc":
        assert managers[0].ip != managers[1].ip
        assert all(Path(one.ip).parent.parent == folder for one in managers)
    for one in managers:
        one.cleanup_connection_file()
    assert not list(folder.iterdir())
    assert not list(tmp_path.glob("*.json"))
