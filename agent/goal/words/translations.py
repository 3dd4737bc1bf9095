"""What German and Spanish goals say, in the English words of the vocabulary (Chinese: ``chinese.py``). A word that
stands in no list is not understood, in any language."""

from __future__ import annotations

GERMAN = {
    "maximiere": "maximise", "maximieren": "maximise", "minimiere": "minimise", "minimieren": "minimise",
    "optimiere": "optimise", "optimieren": "optimise", "verbessere": "improve", "erhöhe": "increase",
    "senke": "reduce", "verringere": "reduce", "reduziere": "reduce", "finde": "find", "suche": "find",
    "schnellste": "fastest", "schnellster": "fastest", "schnellstes": "fastest", "schnellsten": "fastest",
    "höchste": "highest", "höchster": "highest", "höchsten": "highest", "höchstem": "highest",
    "niedrigste": "lowest", "niedrigster": "lowest", "niedrigsten": "lowest", "geringste": "lowest",
    "geringster": "lowest", "geringsten": "lowest", "kürzeste": "lowest", "kleinste": "lowest",
    "beste": "best", "bester": "best", "besten": "best",
    "latenz": "latency", "laufzeit": "run time", "bandbreite": "bandwidth", "speicherbandbreite": "memory bandwidth",
    "durchsatz": "throughput", "energie": "energy", "energieverbrauch": "energy", "pro watt": "per watt",
    "matrixmultiplikation": "matrix multiplication", "matrizenmultiplikation": "matrix multiplication",
    "matrixprodukt": "matrix multiplication", "faltung": "convolution", "aufmerksamkeit": "attention",
    "kausale": "causal", "kausaler": "causal", "kausal": "causal", "nicht": "not", "kein": "no", "keine": "no",
    "keinen": "no", "ohne": "without", "fusionierte": "fused", "fusionierter": "fused", "fusioniertes": "fused",
    "halbe genauigkeit": "half precision", "halber genauigkeit": "half precision", "zeilen": "rows",
    "spalten": "columns", "sekunden": "seconds", "minuten": "minutes", "stunde": "hour", "stunden": "hours",
    "einer stunde": "1 hour", "eine stunde": "1 hour", "messungen": "measurements", "auswertungen": "evaluations",
    "höchstens": "at most", "mindestens": "at least", "schneller als": "faster than", "schlage": "beat",
    "unter": "under", "auf": "on", "für": "for", "mit": "with", "und": "and", "von": "of", "der": "the",
    "die": "the", "das": "the", "den": "the", "dem": "the", "des": "the", "ein": "a", "eine": "a", "einer": "a",
    "eines": "a", "einen": "a", "einem": "a", "bitte": "please", "zu": "to", "zur": "to", "im": "in",
    "prozent": "percent",
    "so schnell wie möglich": "as fast as possible", "schnelle": "fast",
    "schneller": "faster", "größe": "size", "form": "shape",
    "kausale maske": "causal mask", "kopf": "head", "köpfe": "heads", "köpfen": "heads",
    "kopfdimension": "head dimension", "sequenzlänge": "sequence length", "kontextlänge": "context length",
    "batchgröße": "batch size", "token": "tokens", "verborgene größe": "hidden size",
    "verborgene dimension": "hidden dimension", "eingangskanäle": "input channels",
    "eingangskanälen": "input channels", "ausgangskanäle": "output channels", "ausgangskanälen": "output channels",
    "kanäle": "channels", "kanälen": "channels", "schrittweite": "stride", "höhe": "height", "breite": "width",
    "bild": "image", "bilder": "images", "bildern": "images", "mikrosekunden": "microseconds",
    "millisekunden": "milliseconds", "spitze": "peak", "spitzenleistung": "peak", "senken": "reduce",
    "erhöhen": "increase", "steigern": "increase", "aktivierung": "activation", "aber": "but", "um": "by",
    "mal": "by", "doppelt so schnell wie": "2x faster than", "so schnell wie": "as fast as",
}  # fmt: skip

SPANISH = {
    "maximiza": "maximise", "maximizar": "maximise", "minimiza": "minimise", "minimizar": "minimise",
    "optimiza": "optimise", "optimizar": "optimise", "mejora": "improve", "mejorar": "improve", "aumenta": "increase",
    "reduce": "reduce", "reducir": "reduce", "más rápido que": "faster than", "más rápida que": "faster than",
    "más rápida": "fastest", "más rápido": "fastest", "menor": "lowest", "mínima": "lowest", "mínimo": "lowest",
    "máxima": "highest", "máximo": "highest", "mayor": "highest", "mejor": "best",
    "latencia": "latency", "tiempo": "run time", "ancho de banda": "bandwidth", "rendimiento": "throughput",
    "energía": "energy", "por vatio": "per watt", "multiplicación de matrices": "matrix multiplication",
    "producto de matrices": "matrix multiplication", "convolución": "convolution", "atención": "attention",
    "sin": "without", "máscara causal": "causal mask", "durante": "for",
    "lo más rápido posible": "as fast as possible",
    "media precisión": "half precision", "fusionado": "fused", "fusionada": "fused",
    "filas": "rows", "columnas": "columns", "segundos": "seconds", "minutos": "minutes", "una hora": "1 hour",
    "hora": "hour", "horas": "hours", "mediciones": "measurements", "evaluaciones": "evaluations",
    "como máximo": "at most", "al menos": "at least", "supera a": "beat", "supera": "beat",
    "el": "the", "la": "the", "los": "the", "las": "the", "un": "a", "una": "a", "de": "of", "del": "of",
    "para": "for", "con": "with", "y": "and", "en": "in", "tamaño": "size", "por favor": "please",
}  # fmt: skip

SPOKEN_AMOUNTS = {
    "half an hour": "30 minutes", "an hour": "1 hour", "one hour": "1 hour", "a minute": "1 minute",
    "one minute": "1 minute", "twice as fast as": "2x faster than",
}  # fmt: skip

TRANSLATIONS = tuple(sorted({**SPANISH, **GERMAN, **SPOKEN_AMOUNTS}.items(), key=lambda pair: (-len(pair[0]), pair[0])))
"""Longest first."""
