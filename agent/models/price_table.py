"""List prices of language models, each list with its date and source.

US dollars per million tokens of prompt, prompt out of the endpoint's cache and answer (reasoning included); since
GPT-5.6 also of prompt that is put into the cache. Standard processing and prompts below 100,000 tokens, which ours are.
A model without a source is not here. Prices change: check them where a budget matters.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens."""

    prompt: float
    cached: float
    answer: float
    written: float | None = None
    """Of prompt that is put into the cache; ``None`` is the price of the prompt."""

    def cost(self, prompt: int, cached: int, answer: int, written: int = 0) -> float:
        """US dollars of one exchange; `cached` and `written` tokens are among those of the prompt."""
        known = min(max(cached, 0), prompt)
        kept = min(max(written, 0), prompt - known)
        dear = self.prompt if self.written is None else self.written
        rest = prompt - known - kept
        return (rest * self.prompt + known * self.cached + kept * dear + answer * self.answer) / 1e6

    def affords(self, dollars: float, prompt: int) -> int:
        """Tokens of an answer that `dollars` pay for after `prompt` tokens that all go into a cache, out of none."""
        rest = dollars - prompt * max(self.prompt, self.written or 0.0) / 1e6
        return 10**9 if rest > 0 and self.answer == 0 else max(0, int(rest * 1e6 / (self.answer or 1)))


@dataclass(frozen=True)
class PriceList:
    """What one provider asks, as read on a day."""

    source: str
    read: str
    """ISO date."""
    prices: dict[str, Price]


LISTS = (
    PriceList(
        "developers.openai.com/api/docs/pricing (by LiteLLM 1.108.7's table)",
        "2026-11-28",
        {
            "gpt-6.1-sol": Price(2.0, 0.1, 10.0, 2.5),
            "gpt-6-astra": Price(10.0, 1.0, 50.0, 12.5),
            "gpt-6-sol": Price(2.0, 0.2, 10.0, 2.5),
            "gpt-6-luna": Price(0.1, 0.01, 0.5, 0.125),
            "gpt-5.6-terra": Price(2.0, 0.2, 12.0, 2.5),
            "gpt-5.6-luna": Price(0.2, 0.02, 1.2, 0.25),
            "gpt-5.5": Price(5.0, 0.5, 30.0),
            "gpt-5.4": Price(2.5, 0.25, 15.0),
            "gpt-5.4-mini": Price(0.75, 0.075, 4.5),
            "gpt-5.4-nano": Price(0.2, 0.02, 1.25),
            "gpt-5.2": Price(1.75, 0.175, 14.0),
            "gpt-5.1": Price(1.25, 0.125, 10.0),
            "gpt-5": Price(1.25, 0.125, 10.0),
            "gpt-5-mini": Price(0.25, 0.025, 2.0),
            "gpt-5-nano": Price(0.05, 0.005, 0.4),
            "gpt-4.1": Price(2.0, 0.5, 8.0),
            "gpt-4.1-mini": Price(0.4, 0.1, 1.6),
            "gpt-4.1-nano": Price(0.1, 0.025, 0.4),
            "gpt-4o": Price(2.5, 1.25, 10.0),
            "gpt-4o-mini": Price(0.15, 0.075, 0.6),
            "o3": Price(2.0, 0.5, 8.0),
            "o4-mini": Price(1.1, 0.275, 4.4),
        },
    ),
    PriceList(
        "github.com/TheKrush/PromptFuel/releases/tag/v1.0.17 and /v1.0.24, after OpenAI's page",
        "2026-10-27",
        {
            # A promotion at 4, 0.40 and 20 was promised until 2026-11-21; these are the prices before it.
            "gpt-5.6": Price(5.0, 0.5, 30.0, 6.25),
            "gpt-5.6-sol": Price(5.0, 0.5, 30.0, 6.25),
            "gpt-6.1-terra": Price(1.0, 0.05, 5.0, 1.25),
        },
    ),
    PriceList(
        "github.com/iyulab/TokenMeter/releases/tag/v0.17.0; docs.laozhang.ai/en/announcements/gpt-6-2-2026-11",
        "2026-11-18",
        {
            "gpt-6.2-sol": Price(2.0, 0.1, 10.0, 2.5),
            "gpt-6.2-astra": Price(8.0, 0.4, 40.0, 10.0),
            "gemini-4-neon": Price(3.0, 0.15, 15.0),
            "gemini-4-hydrogen": Price(1.5, 0.075, 7.5),
        },
    ),
    PriceList(
        "platform.claude.com/docs/en/about-claude/pricing (by LiteLLM 1.108.7's table)",
        "2026-11-28",
        {
            "claude-fable-5-1": Price(10.0, 0.25, 50.0, 12.5),
            "claude-opus-5-5": Price(4.0, 0.2, 20.0, 5.0),
            "claude-opus-5": Price(5.0, 0.5, 25.0, 6.25),
            "claude-sonnet-5-5": Price(2.0, 0.1, 10.0, 2.5),
            "claude-sonnet-5": Price(2.0, 0.2, 10.0, 2.5),
            "claude-haiku-5-5": Price(0.1, 0.01, 0.5, 0.125),
        },
    ),
    PriceList(
        "ai.google.dev/gemini-api/docs/pricing (by LiteLLM 1.108.7's table; BerriAI/litellm discussions 46238, 39357)",
        "2026-11-28",
        {
            "gemini-4-argon": Price(4.0, 0.2, 20.0),  # from 2026-12-01 on; half of it until then
            "gemini-3.8-flash": Price(0.75, 0.075, 3.75),  # until 2026-12-31; twice that from then on
            "gemini-3.1-pro-preview": Price(2.0, 0.2, 12.0),
        },
    ),
    PriceList(
        "api-docs.deepseek.com/quick_start/pricing",
        "2026-11-15",
        {
            # By day in China; half of it at other times.
            "deepseek-flash": Price(0.3, 0.006, 1.2),
            "deepseek-v4-pro": Price(1.32, 0.044, 3.96),
        },
    ),
    PriceList(
        "platform.kimi.ai/docs/pricing (by LiteLLM 1.108.7's table)",
        "2026-11-28",
        {
            "kimi-k3": Price(3.0, 0.3, 15.0),
            "kimi-k2.7-code": Price(0.95, 0.19, 4.0),
            "kimi-k2.6": Price(0.95, 0.16, 4.0),
        },
    ),
    PriceList(
        "docs.mistral.ai/models (by LiteLLM 1.108.7's table)",
        "2026-11-28",
        {
            "mistral-large-4": Price(0.68, 0.068, 2.09),
            "mistral-medium-3-5": Price(1.5, 0.15, 7.5),
        },
    ),
)
TABLE: dict[str, Price] = {model: price for each in LISTS for model, price in each.prices.items()}
