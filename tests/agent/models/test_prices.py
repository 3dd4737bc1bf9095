from __future__ import annotations

import json
from datetime import date

import pytest

from agent.cli.commands import main
from agent.errors import UsageError
from agent.models.price_table import LISTS, TABLE
from agent.models.prices import FREE, Price, price_of, read_overrides
from tests.agent.answers import tool_call
from tests.agent.fake_actions import BEST


def test_a_prefix_or_a_date_changes_no_price_and_a_stranger_has_none():
    assert price_of("gpt-4.1-mini") == price_of("openai/gpt-4.1-mini") == price_of("gpt-4.1-mini-2025-04-14")
    assert price_of("embedded") == FREE
    for name in ("gpt-4.1-mini-turbo", "openai/", "", "llama3", "anthropic/gpt-5"):
        assert price_of(name) is None


def test_cached_tokens_cost_less_and_an_answer_is_what_the_rest_pays_for():
    price = Price(2.0, 0.5, 8.0)
    assert price.cost(1_000_000, 0, 0) == 2
    assert price.cost(1_000_000, 1_000_000, 0) == 0.5
    assert price.cost(1_000_000, 9_000_000, 1_000_000) == 8.5
    assert price.affords(0.01, 1000) == 1000
    assert price.affords(0.001, 1000) == 0
    assert FREE.affords(0.01, 1000) > 10**6


def test_tokens_put_into_a_cache_may_cost_more():
    price = Price(2.0, 0.5, 8.0, 2.5)
    assert price.cost(1_000_000, 0, 0, 1_000_000) == 2.5
    assert price.cost(1_000_000, 400_000, 0, 200_000) == pytest.approx(0.4 * 2 + 0.4 * 0.5 + 0.2 * 2.5)
    assert price.cost(100, 0, 0, 10**9) == price.cost(100, 0, 0, 100)
    assert Price(2.0, 0.5, 8.0).cost(100, 0, 0, 50) == Price(2.0, 0.5, 8.0).cost(100, 0, 0)
    assert price.affords(0.01, 1000) < Price(2.0, 0.5, 8.0).affords(0.01, 1000)


def test_every_list_has_a_source_and_a_day_and_no_model_two_prices():
    assert len(TABLE) == sum(len(each.prices) for each in LISTS)
    for each in LISTS:
        assert "." in each.source.partition("/")[0]
        assert date.fromisoformat(each.read).year >= 2026
    for price in TABLE.values():
        assert 0 < price.cached <= price.prompt < price.answer
        assert price.written is None or price.written == pytest.approx(1.25 * price.prompt)


def test_a_users_table_comes_first(tmp_path, monkeypatch):
    table = tmp_path / "prices.json"
    table.write_text('{"llama3": [0, 0, 0], "gpt-5": [9, 9, 9, 11]}')
    monkeypatch.setenv("AUTOKERNEL_PRICES", str(table))
    assert (price_of("llama3"), price_of("gpt-5")) == (FREE, Price(9, 9, 9, 11))
    for text in ("{", "[]", '{"m": [1, 2]}', '{"m": [1, 2, -3]}', '{"m": [1, 2, "x"]}', '{"m": [1, 2, NaN]}'):
        table.write_text(text)
        with pytest.raises(UsageError, match="no table of prices"):
            read_overrides()
    monkeypatch.setenv("AUTOKERNEL_PRICES", str(tmp_path / "absent"))
    with pytest.raises(UsageError, match="Cannot read the prices"):
        read_overrides()


def test_a_limit_on_money_needs_a_price(small_world, capsys, server):
    small_world()
    assert main(["fused TFLOPS", "--model", "m", "--base-url", server.url, "--max-cost", "1"]) == 2
    assert "The price of m is unknown, so --max-cost cannot hold" in capsys.readouterr().err
    assert server.asked == []


def test_an_unknown_price_is_said_once_and_a_known_one_is_counted(small_world, capsys, server, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test")
    server.answers = [tool_call({"configs": [BEST]})]
    small_world()
    main(["fused TFLOPS", "--model", "m", "--base-url", server.url, "--max-model-calls", "2"])
    out, err = capsys.readouterr()
    assert err.count("the price of m is unknown") == 1
    assert "24 tokens, cost unknown (no price of m)" in out
    main(["fused TFLOPS", "--model", "m", "--base-url", server.url, "--max-model-calls", "2", "--json"])
    assert json.loads(capsys.readouterr().out)["cost"] is None
    main(["fused TFLOPS", "--model", "gpt-5", "--base-url", server.url, "--max-model-calls", "2", "--max-cost", "1"])
    out, err = capsys.readouterr()
    assert "is unknown" not in err
    assert f"24 tokens, ${2 * (7 * 1.25 + 5 * 10) / 1e6:.4f}" in out


@pytest.mark.parametrize("amount", ["0", "-1", "nan", "inf", "much"])
def test_an_amount_that_is_none_is_refused(amount, capsys):
    assert main(["fused TFLOPS", "--max-cost", amount]) == 2
    assert "--max-cost" in capsys.readouterr().err
