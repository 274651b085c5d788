"""One small upload to each real host, only by `python3 tools/dev.py online`.

Hosts whose owners do not want it (0x0.st), that are not configured, or whose links one look uses up
are left out.
"""

import pytest

import twat_fs

WANTED = [
    row.id
    for row in twat_fs.PROVIDERS
    if row.single_use != "always" and not row.setup.required and row.id != "www0x0"
]


@pytest.fixture
def clean_env():
    """Here, and only here, the proxies and certificates of this machine are to be used."""


@pytest.mark.online
@pytest.mark.parametrize("host", WANTED)
def test_the_host_gives_back_what_it_was_given(host, record_property):
    info = twat_fs.setup_provider(host, online=True)
    record_property("said", info.explanation)
    record_property(
        "timing", " ".join(f"{phase} {seconds} s" for phase, seconds in info.timing.items())
    )
    assert info.success, info.explanation
