"""Each build finds its own packages first, and its figures are the median of paired ratios."""

from __future__ import annotations

import os

import pytest

from tests.bench.bench_side_by_side import ROOT, figures_of, search_path


def test_a_build_finds_its_own_packages_and_what_was_installed_beside(tmp_path, monkeypatch):
    site = tmp_path / "site"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(site), ""]))
    assert search_path(tmp_path / "older") == os.pathsep.join([str(tmp_path / "older"), str(site)])
    monkeypatch.delenv("PYTHONPATH")
    assert search_path(tmp_path / "older") == str(tmp_path / "older")


def test_figures_are_of_paired_ratios():
    found = figures_of(2, {"older": [1.0, 2.0, 4.0], "this": [1.1, 2.2, 8.0]})
    assert found["ratio"] == pytest.approx(1.1)
    assert found["ci"][0] == pytest.approx(1.1)
    assert found["pairs"] == 3
