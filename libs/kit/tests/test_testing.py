"""What a test is told when the service that it started does not do as it should."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from driftloop_kit.testing import ServiceProcess, free_port

TOYS = Path(__file__).parent / "toys"


def test_a_service_that_refuses_to_start_is_not_waited_for_and_its_log_is_shown(tmp_path: Path) -> None:
    began = time.monotonic()
    with (
        ServiceProcess("toy", "a:1", tmp_path, "mysql://x:y@z/z", PYTHONPATH=str(TOYS)) as service,
        pytest.raises(AssertionError, match=r"(?s)toy has ended with 78, .*TOY_DATABASE_URL"),
    ):
        service.until_ready()
    assert service.stop() == 78
    assert time.monotonic() - began < 30


def test_what_does_not_come_in_time_is_named_with_the_last_that_was_said(tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    url = f"postgresql://toy@{nowhere}/toy"
    with ServiceProcess("toy", nowhere, tmp_path, url, PYTHONPATH=str(TOYS)) as service:
        service.until_page("/ready", lambda report: report["reasons"])
        with pytest.raises(AssertionError, match=r"not saying at /ready what it should within 0\.3 s") as late:
            service.until_page("/ready", lambda report: report["ready"], within_s=0.3)
    assert "'ready': False" in late.value.__notes__[0]


def test_another_start_is_at_the_same_address_and_goes_on_with_the_same_log(tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    url = f"postgresql://toy@{nowhere}/toy"
    with ServiceProcess("toy", nowhere, tmp_path, url, PYTHONPATH=str(TOYS)) as service:
        service.until_page("/ready", lambda report: report["reasons"])
        service.kill()
        assert service.ready() == {}
        said, before = service.log.read_text(), service.process.pid
        service.start()
        service.until_page("/ready", lambda report: report["reasons"])
        assert service.process.pid != before
        assert service.log.read_text().startswith(said)
        assert service.log.read_text() != said
