"""One small upload to each real host, only by `python3 tools/dev.py online`.

tools/board.py says which hosts may be asked.
"""

import pytest
from board import ASKABLE

import twat_fs


@pytest.fixture
def clean_env():
    """Here, and only here, the proxies and certificates of this machine are to be used."""


@pytest.mark.online
@pytest.mark.parametrize("host", ASKABLE)
def test_the_host_gives_back_what_it_was_given(host, record_property):
    info = twat_fs.setup_provider(host, online=True)
    record_property("said", info.explanation)
    record_property(
        "timing", " ".join(f"{phase} {seconds} s" for phase, seconds in info.timing.items())
    )
    assert info.success, info.explanation
