// The three small pictures, drawn as SVG at the size they are shown, so that letters stay letters on a phone.
// Colours, dashes and hatches are the style sheet's: light, dark and paper differ there only.

import { changeOf, nats, number, percent } from "/dashboard-state.js";

const HEIGHT = 230;
const NONE = "no round is over yet";
const EDGE = { top: 16, right: 14, bottom: 38, left: 46 };

/** The accuracy in per cent, 0 to 100, after each of `total` rounds. */
export function drawAccuracy(place, rounds, total) {
  const points = rounds.filter((row) => row.accuracy !== null).map((row) => ({ ...row, y: row.accuracy }));
  const y = { top: 1, ticks: [0, 0.25, 0.5, 0.75, 1], text: (value) => `${100 * value}%` };
  curve(place, "accuracy", points, total, y, percent);
}

/** The loss in nats, from 0. */
export function drawLoss(place, rounds, total) {
  const points = rounds.filter((row) => row.loss !== null).map((row) => ({ ...row, y: row.loss }));
  const y = { ...scale(Math.max(...points.map((point) => point.y), points.length ? 1e-9 : 1)), text: number };
  curve(place, "loss", points, total, y, nats);
}

/** A bar a round: updates averaged, refused, never come. `sent`: of the round under way; `people`: who could send. */
export function drawFates(place, rounds, total, sent, people) {
  const rows = rounds.filter((row) => row.participants !== null);
  const bars = rows.map((row) => ({
    round: row.round,
    parts: [["averaged", row.participants], ["refused", row.refused ?? 0], ["absent", row.absent ?? 0]],
  }));
  if (sent) bars.push({ round: (rows.at(-1)?.round ?? 0) + 1, parts: [["coming", sent]] });
  const sums = bars.map((bar) => bar.parts.reduce((sum, [, n]) => sum + n, 0));
  const y = { ...scale(Math.max(...sums, people, 1), true), text: number };
  const said = bars.map((bar) => `round ${bar.round}: ${tell(bar)}`).join("; ");
  const chart = frame(place, `Updates by round: ${said || NONE}.`, total, y);
  if (!bars.length) nothing(chart);
  const width = Math.max(1, Math.min(28, 0.7 * chart.step));
  const thin = width < 5; // too thin for lines in it
  for (const bar of bars) {
    let base = 0;
    for (const [kind, n] of bar.parts) {
      if (!n) continue;
      const [top, bottom] = [chart.y(base + n), chart.y(base)];
      const box = { x: chart.x(bar.round) - width / 2, y: top, width, height: bottom - top };
      add(chart.svg, "rect", { ...box, class: `bar ${kind}${thin ? " thin" : ""}` });
      if (kind === "refused" && !thin) hatch(chart.svg, box);
      base += n;
    }
  }
  follow(chart, bars, (bar) => tell(bar));
}

const WORDS = { averaged: "averaged", refused: "refused", absent: "absent", coming: "here so far" };
const tell = (bar) =>
  bar.parts.filter(([kind, n]) => n || kind === "averaged").map(([kind, n]) => `${n} ${WORDS[kind]}`).join(", ");

function curve(place, kind, points, total, y, text) {
  const [first, last] = [points[0], points.at(-1)];
  const said = last
    ? `${kind} by round: ${text(first.y)} after round ${first.round}, ${text(last.y)} after round ${last.round} of ${total}. The table below has every round.`
    : `${kind} by round: ${NONE}.`;
  const chart = frame(place, said, total, y);
  marks(chart, points, kind === "accuracy" ? chart.bottom - 6 : EDGE.top + 11); // where the curve is not
  const at = points.map((point) => [chart.x(point.round), chart.y(point.y)]);
  add(chart.svg, "polyline", { class: `line ${kind}`, points: at.map((pair) => pair.join()).join(" ") });
  const r = chart.step < 8 ? 0 : 4;
  at.forEach(([x, top], index) => {
    if (!r && index < at.length - 1) return;
    const size = r || 4;
    if (kind === "accuracy") add(chart.svg, "circle", { class: `dot ${kind}`, cx: x, cy: top, r: size });
    else add(chart.svg, "rect", { class: `dot ${kind}`, x: x - size + 0.5, y: top - size + 0.5, width: 2 * size - 1, height: 2 * size - 1 });
  });
  if (last) {
    const [x, top] = at.at(-1);
    const words = label(chart, x + 9, Math.min(top + 5, chart.bottom - 5), text(last.y), `value ${kind}`, "start");
    if (x + 9 + words.getComputedTextLength() > chart.right + EDGE.right) {
      const below = kind === "accuracy" ? top < EDGE.top + 24 : top < chart.bottom - 30;
      set(words, { "text-anchor": "middle", y: below ? top + 22 : top - 11 });
      keepInside(chart, words, x);
    }
  } else {
    nothing(chart);
  }
  follow(chart, points, (point) => text(point.y));
}

function nothing(chart) {
  label(chart, (chart.left + chart.right) / 2, HEIGHT / 2 - 10, NONE, "quiet");
}

/** Where a setting changed between two rounds: a dashed line before the round that it holds from. */
function marks(chart, points, height) {
  let free = -Infinity;
  points.forEach((point, index) => {
    const change = changeOf(point, points[index - 1]);
    if (!change) return;
    const x = (chart.x(point.round) + chart.x(points[index - 1].round)) / 2;
    add(chart.svg, "line", { class: "mark", x1: x, x2: x, y1: EDGE.top, y2: chart.bottom });
    if (x < free) return; // its words would lie on those of the mark before
    const words = label(chart, x + 4, height, change, "quiet", "start");
    free = x + words.getComputedTextLength() + 10;
  });
}

/** Axes, grid and the description for those who hear the picture; what was there goes in one step. */
function frame(place, said, total, y) {
  const width = Math.max(220, Math.floor(place.clientWidth));
  const svg = make("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": said, preserveAspectRatio: "xMinYMid" });
  place.replaceChildren(svg);
  const chart = { svg, left: EDGE.left, right: width - EDGE.right, bottom: HEIGHT - EDGE.bottom };
  const last = Math.max(total, 1);
  const pad = (chart.right - chart.left) / (2 * last + 2);
  chart.step = (chart.right - chart.left - 2 * pad) / Math.max(1, last - 1);
  chart.x = (round) => (last === 1 ? (chart.left + chart.right) / 2 : chart.left + pad + (round - 1) * chart.step);
  chart.y = (value) => chart.bottom - (value / y.top) * (chart.bottom - EDGE.top);
  for (const tick of y.ticks) {
    add(svg, "line", { class: tick ? "grid" : "axis", x1: chart.left, x2: chart.right, y1: chart.y(tick), y2: chart.y(tick) });
    label(chart, chart.left - 7, chart.y(tick) + 4, y.text(tick), "tick", "end");
  }
  const every = nice(last / Math.floor(width / 32), true);
  for (let round = every === 1 ? 1 : every; round <= last; round += every) {
    label(chart, chart.x(round), chart.bottom + 16, String(round), "tick");
  }
  label(chart, (chart.left + chart.right) / 2, HEIGHT - 4, "round", "tick");
  return chart;
}

/** Under the pointer: which round, and its value. The table says the same to everybody else. */
function follow(chart, rows, text) {
  const line = add(chart.svg, "line", { class: "cursor", y1: EDGE.top, y2: chart.bottom, visibility: "hidden" });
  const words = label(chart, 0, EDGE.top - 4, "", "cursor-text");
  chart.svg.addEventListener("pointermove", (event) => {
    if (!rows.length) return;
    const box = chart.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * (chart.right + EDGE.right);
    const near = rows.reduce((a, b) => (Math.abs(chart.x(a.round) - x) <= Math.abs(chart.x(b.round) - x) ? a : b));
    set(line, { x1: chart.x(near.round), x2: chart.x(near.round), visibility: "visible" });
    words.textContent = `round ${near.round}: ${text(near)}`;
    keepInside(chart, words, chart.x(near.round));
  });
  chart.svg.addEventListener("pointerleave", () => {
    set(line, { visibility: "hidden" });
    words.textContent = "";
  });
}

/** An axis from 0 to at least `highest` in about four steps: {top, ticks}. */
function scale(highest, whole = false) {
  const step = nice(highest / 4, whole);
  const steps = Math.ceil(highest / step - 1e-9);
  return { top: step * steps, ticks: Array.from({ length: steps + 1 }, (_, index) => step * index) };
}

/** The next of 1, 2, 2.5, 5, 10, 20 ... ; a whole one of at least 1 where asked for. */
function nice(rough, whole) {
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((one) => one >= rough * 0.999);
  return whole ? Math.max(1, Math.ceil(step)) : step;
}

function hatch(svg, box) {
  const { x, y, width, height } = box;
  let path = "";
  for (let c = 6; c < width + height; c += 6) { // the lines x + y = c, inside the box
    const [a, b] = [Math.min(c, width), Math.min(c, height)];
    path += `M${x + a} ${y + c - a}L${x + c - b} ${y + b}`;
  }
  add(svg, "path", { class: "hatch", d: path });
}

function label(chart, x, y, text, kind, anchor = "middle") {
  const node = add(chart.svg, "text", { class: kind, x, y, "text-anchor": anchor });
  node.textContent = text;
  if (text) keepInside(chart, node, x);
  return node;
}

/** Put a text at x, and keep it inside the picture. */
function keepInside(chart, node, x) {
  if (node.getAttribute("text-anchor") !== "middle") return set(node, { x });
  const half = node.getComputedTextLength() / 2;
  return set(node, { x: Math.min(Math.max(x, half + 2), chart.right + EDGE.right - half - 2) });
}

function make(name, values) {
  return set(document.createElementNS("http://www.w3.org/2000/svg", name), values);
}

function add(parent, name, values) {
  return parent.appendChild(make(name, values));
}

function set(node, values) {
  for (const [key, value] of Object.entries(values)) node.setAttribute(key, value);
  return node;
}
