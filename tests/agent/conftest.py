from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Traces go under the test's folder; the developer's keys and models stay out."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AUTOKERNEL_MODEL"):
        monkeypatch.delenv(name, raising=False)
