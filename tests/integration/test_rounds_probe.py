"""Runs of the probe task over real sockets and real worker processes."""

from pathlib import Path

from rounds import rounds

PROBE = 'task = "probe"\naggregation = "plain"\nrounds = 3\nrejoin_grace = "5s"\n'


async def test_a_probe_run_ends_with_every_member_in_every_round(tmp_path: Path) -> None:
    """Three nodes accept, train and evaluate for three rounds; nothing is left of messages afterwards."""
    async with rounds(tmp_path) as (_, office, _links):
        run = await office.follow(await office.supervisor.start(PROBE))
    assert run.state == "done", run.detail
    assert [p.state for p in run.participants] == ["accepted"] * 3
    assert [done.members for done in run.history] == [("alder", "birch", "cedar")] * 3
    assert run.history[-1].metrics["rounds_seen"] == 3
    assert len({done.arrays_sha256 for done in run.history}) == 3
