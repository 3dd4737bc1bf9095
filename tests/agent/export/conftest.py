from __future__ import annotations

import pytest

from tests.agent.export.browser import MISSING, Browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if MISSING:
        pytest.skip(MISSING)
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()
