"""What Chinese goals say, in the English words of the vocabulary.

Chinese has no spaces, so a phrase is found wherever it stands, the longest first. A character that no phrase takes is
not understood, so a goal that holds one is refused.
"""

from __future__ import annotations

import re

ORDER: tuple[tuple[str, str], ...] = (
    (r"比\s*([a-z][a-z0-9. ]*?)\s*(?:更\s*)?快\s*(\d+(?:\.\d+)?)\s*%", r" \2 % faster than \1 "),
    (r"比\s*([a-z][a-z0-9. ]*?)\s*更?快(?!\s*\d)", r" faster than \1 "),
    (r"(?:理论)?峰值的?\s*(\d+(?:\.\d+)?)\s*%", r" \1 % of peak "),
    (r"%\s*的?\s*(?:理论)?峰值", " % of peak "),
)
"""Phrases whose words stand in another order in English."""

CHINESE = {
    "融合矩阵乘法": "fused matmul", "矩阵乘法": "matmul", "矩阵相乘": "matmul", "矩阵乘": "matmul", "融合": "fused",
    "自注意力": "attention", "线性注意力": "linear attention", "注意力": "attention", "卷积": "convolution",
    "层归一化": "layer norm", "均方根归一化": "rms norm",
    "因果掩码": "causal mask", "非因果": "not causal", "因果": "causal", "双向": "bidirectional", "偏置": "bias",
    "激活函数": "activation", "半精度": "half precision", "单精度": "single precision", "双精度": "double precision",
    "最大化": "maximise", "最小化": "minimise", "优化": "optimise", "调优": "tune", "提高": "increase",
    "提升": "increase", "降低": "reduce", "减少": "reduce", "最快": "fastest", "最高": "highest", "最低": "lowest",
    "最大": "highest", "最小": "lowest",
    "延迟": "latency", "时延": "latency", "运行时间": "run time", "执行时间": "execution time",
    "显存带宽": "memory bandwidth", "内存带宽": "memory bandwidth", "带宽": "bandwidth", "吞吐量": "throughput",
    "能耗": "energy", "行": "rows", "列": "columns", "词元": "tokens", "隐藏维度": "hidden size",
    "隐藏层大小": "hidden size", "中间维度": "intermediate size", "批大小": "batch size", "批量大小": "batch size",
    "序列长度": "sequence length", "序列": "sequence", "上下文长度": "context length", "头维度": "head dimension",
    "查询头": "query heads", "键值头": "kv heads", "头": "heads", "高度": "height", "宽度": "width",
    "输入通道": "input channels", "输出通道": "output channels", "通道": "channels", "步长": "stride",
    "填充": "padding", "膨胀": "dilation", "滤波器": "filter", "图像": "image",
    "分钟": "minutes", "小时": "hours", "毫秒": "milliseconds", "微秒": "microseconds", "秒": "seconds", "天": "days",
    "次测量": "measurements", "次评估": "evaluations",
    "至少": "at least", "不低于": "at least", "不少于": "at least", "超过": "above", "高于": "above", "大于": "above",
    "至多": "at most", "最多": "at most", "不超过": "at most", "低于": "under", "小于": "under", "少于": "under",
    "以内": "", "之内": "", "内": "", "达到": "reach",
    "不要使用": "without", "不要用": "without", "不使用": "without", "不用": "without", "不带": "without",
    "没有": "without", "无": "without", "不要": "not", "不是": "not", "不": "not", "非": "not",
    "请": "please", "的": "", "在": "on", "上": "", "使用": "using", "用": "using", "带": "with", "和": "and",
    "与": "and", "个": "", "进行": "", "大小": "size", "形状": "shape", "乘": "by", "算子": "operator",
    "内核": "kernel",
}  # fmt: skip

_LONGEST_FIRST = tuple(sorted(CHINESE, key=lambda phrase: (-len(phrase), phrase)))
WIDE: dict[int, int | str] = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    ord("，"): ", ", ord("、"): ", ", ord("。"): ". ", 0x3000: " ",
}  # fmt: skip
"""Full-width letters, digits and marks, as Chinese and Japanese keyboards write them."""


def in_english(text: str) -> str:
    """`text`, in lower case, with its Chinese phrases in English."""
    for pattern, english in ORDER:
        text = re.sub(pattern, english, text)
    for phrase in _LONGEST_FIRST:
        text = text.replace(phrase, f" {CHINESE[phrase]} ")
    return text
