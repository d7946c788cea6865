"""What can be measured of how a page looks: do its words stand out from what is behind them, and is any of them cut?"""

from __future__ import annotations

from typing import Any

# Every piece of text below a node with its contrast as WCAG 2 defines it; what is switched off may be pale.
_TEXTS = """root => {
    const seen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgb = (text) => {
        seen.clearRect(0, 0, 1, 1); seen.fillStyle = text; seen.fillRect(0, 0, 1, 1);
        return [...seen.getImageData(0, 0, 1, 1).data];
    };
    const light = (colour) => {
        const [r, g, b] = colour.map((c) => c / 255).map(
            (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = [];
    for (const node of root.querySelectorAll("*")) {
        const own = [...node.childNodes].filter((one) => one.nodeType === 3 && one.data.trim());
        if (!own.length || !node.checkVisibility() || node.matches("style, script, :disabled")) continue;
        let behind = node;
        while (behind && rgb(getComputedStyle(behind).backgroundColor)[3] < 255) behind = behind.parentElement;
        const style = getComputedStyle(node);
        // a number on its mark: what is behind it is the circle that was drawn before it
        const before = node.previousElementSibling;
        const shape = before?.matches("circle") && before.getAttribute("cx") === node.getAttribute("x") && before;
        const paper = rgb(shape ? getComputedStyle(shape).fill
            : behind ? getComputedStyle(behind).backgroundColor : "white");
        const ink = rgb(node instanceof SVGElement ? style.fill : style.color);
        const shown = ink.map((c, i) => (c * ink[3] + paper[i] * (255 - ink[3])) / 255);
        const [a, b] = [light(shown), light(paper)];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        found.push({ text: own[0].data.trim().slice(0, 40), ratio: Math.round(100 * ratio) / 100,
            size: parseFloat(style.fontSize) });
    }
    return found;
}"""

_CUT = """root => [...root.querySelectorAll("label, button, th, [role=status], [role=alert], [role=note]")]
    .filter((one) => one.checkVisibility() && one.clientWidth && one.scrollWidth > one.clientWidth + 1)
    .map((one) => one.textContent.trim())"""


def texts(place: Any) -> list[dict[str, Any]]:
    """Every piece of text that a locator shows: its `text`, its contrast as `ratio`, its `size` in pixels."""
    found: list[dict[str, Any]] = place.evaluate(_TEXTS)
    return found


def cut(place: Any) -> list[str]:
    """The labels, buttons, heads of columns and messages that are wider than their room."""
    found: list[str] = place.evaluate(_CUT)
    return found
