// Puts a project into the page. Only what differs is touched: no flicker, selections and the scroll position stay.

import { drawAccuracy, drawFates, drawLoss } from "/dashboard-charts.js";
import { nats, number, percent, since, size, standing, traffic, updatesOf } from "/dashboard-state.js";

const SIGNS = { none: "○", waiting: "…", running: "▸", done: "✓" };
const FILES = ["accuracy_metrics.json", "participants.json", "history.json"];

const find = (selector) => document.querySelector(selector);

/** Show a project (see readProject), when its files changed last (a Date) and which of them there are. */
export function showProject(project, changed, files) {
  const state = standing(project);
  const over = project.rounds.length;
  say("#name", project.name);
  showStanding(state);
  const bar = find("#progress");
  bar.hidden = !project.total;
  bar.max = project.total || 1;
  bar.value = over;
  document.title = `${state.kind === "running" ? `${over}/${project.total} ` : ""}${project.name}: ${state.headline}`;
  showTiles(tiles(project, changed));
  showCharts(project, state);
  showPeople(project.people);
  showRounds(project);
  find("#files").replaceChildren("Files: ", ...links(project.name, files));
}

/** Who acts now, at which step and since when; called every second, since time goes on while no file changes. */
export function showNow(project, times) {
  const state = project ? standing(project) : { who: "", step: "", began: "" };
  // a round that is not planned yet is under way since the last one ended
  const began = state.began === "round" ? Math.max(times?.round ?? 0, times?.ended ?? 0) : times?.[state.began];
  const ago = since(began ?? times?.ended ?? 0, Date.now() / 1000);
  const done = state.kind === "done";
  find("#now").hidden = !(state.who || done);
  say("#now .who", done ? "Nobody acts any more" : state.who);
  say("#now .step", done ? "all rounds have ended" : state.step);
  say("#now .since", ago ? `since ${ago}` : "");
}

/** Nothing to show: no aggregator has published here. */
export function showNothing() {
  say("#name", "No project yet");
  showStanding({
    kind: "none",
    headline: "Waiting for the first project",
    detail:
      "A project shows up here as soon as this datasite’s aggregator has launched it. If you take part in somebody else’s " +
      "project, its curves are on the aggregator’s page, not on yours.",
  });
  document.title = "fedkit dashboard";
  find("#progress").hidden = true;
  find("#files").textContent = "";
  for (const id of ["accuracy", "loss", "fates", "people", "rounds"]) find(`#${id}`).hidden = true;
  showTiles([]);
}

/** The pictures, which depend on the width of the page too. */
export function showCharts(project, state = standing(project)) {
  const { rounds, span } = project;
  const next = rounds.length + 1;
  const sent = state.kind === "running" ? project.people.filter((one) => one.sent >= next).length : null;
  const shown = {
    accuracy: [project.published, (place) => drawAccuracy(place, rounds, span)],
    loss: [project.detailed, (place) => drawLoss(place, rounds, span)],
    fates: [project.detailed, (place) => drawFates(place, rounds, span, sent, project.people.length)],
  };
  for (const [id, [there]] of Object.entries(shown)) find(`#${id}`).hidden = !there;
  find("#fates .coming").hidden = !sent;
  find("#charts").classList.toggle("alone", !project.detailed);
  for (const [id, [there, draw]] of Object.entries(shown)) if (there) draw(find(`#${id} .plot`));
}

function showStanding({ kind, headline, detail }) {
  find("#status").dataset.kind = kind;
  say("#status .sign", SIGNS[kind]);
  say("#status .headline", headline);
  say("#status .detail", detail);
}

function tiles(project, changed) {
  const last = project.rounds.at(-1);
  const ready = project.people.filter((one) => one.approved).length;
  const crossed = traffic(project);
  const gain = project.rounds.length > 1 ? last.accuracy - project.rounds.at(-2).accuracy : null;
  const points = gain === null ? "of the test images" : `${gain < 0 ? "−" : "+"}${Math.abs(100 * gain).toFixed(1)} points in the last round`;
  return [
    ["Accuracy", last ? percent(last.accuracy) : "–", last ? points : "after the first round"],
    ["Participants", `${ready} of ${project.people.length}`, "have approved"],
    ["Weights sent", crossed ? size(crossed.out + crossed.into) : "–", told(project, crossed)],
    ["Last change", changed.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" }), changed.toLocaleDateString([], { dateStyle: "medium" })],
  ];
}

function told(project, crossed) {
  if (!crossed) return "not published here";
  const model = `a model is ${size(project.modelBytes)}`;
  return crossed.out ? `about ${size(crossed.out)} out, ${size(crossed.into)} in; ${model}` : model;
}

function showTiles(rows) {
  const list = find("#tiles");
  list.hidden = !rows.length;
  while (list.children.length > rows.length) list.lastChild.remove();
  rows.forEach((texts, index) => {
    const tile = list.children[index] ?? list.appendChild(document.createElement("div"));
    if (!tile.children.length) tile.append(...["dt", "dd", "dd"].map((name) => document.createElement(name)));
    texts.forEach((text, place) => put(tile.children[place], text));
  });
}

const yes = (value) => (value ? "✓ yes" : "– no");

function showPeople(people) {
  find("#people").hidden = !people.length;
  const columns = {
    Participant: (one) => one.email,
    "Client there": (one) => yes(one.installed || one.approved),
    Approved: (one) => yes(one.approved),
    "Data there": (one) => yes(one.data),
    "Latest update": (one) => (one.sent ? `round ${one.sent}` : "none yet"),
    "Doing now": (one) => one.doing || "–",
  };
  table("#people", columns, people);
}

function showRounds(project) {
  const { rounds, modelBytes } = project;
  find("#rounds").hidden = !rounds.length;
  const counted = (key) => (row) => row[key] ?? "";
  const columns = {
    Round: counted("round"),
    Accuracy: (row) => percent(row.accuracy),
    Loss: (row) => (row.loss === null ? "" : nats(row.loss)),
    Asked: counted("asked"),
    Averaged: counted("participants"),
    Refused: counted("refused"),
    Absent: counted("absent"),
    "Learning rate": (row) => (row.learning_rate === null ? "" : number(row.learning_rate)),
    "Local epochs": counted("local_epochs"),
    "Updates in": (row) => (modelBytes && updatesOf(row) !== null ? size(updatesOf(row) * modelBytes) : ""),
  };
  const told = Object.entries(columns).filter(([, cell]) => rounds.some((row) => cell(row) !== ""));
  table("#rounds", Object.fromEntries(told), rounds);
  say("#rounds-note", project.detailed ? "" : "This aggregator publishes the accuracy only.");
}

/** One row a thing, one column an entry of `columns` (title -> cell's text); cells that stay the same are left alone. */
function table(id, columns, things) {
  const titles = Object.keys(columns);
  rows(find(`${id} thead`), [titles], "th", (cell) => set(cell, { role: "columnheader", scope: "col" }));
  const texts = things.map((thing) => titles.map((title) => String(columns[title](thing))));
  rows(find(`${id} tbody`), texts, "td", (cell, column) => {
    set(cell, { role: column ? "cell" : "rowheader", "data-title": titles[column] });
  });
}

function rows(body, texts, name, dress) {
  body.setAttribute("role", "rowgroup");
  while (body.rows.length > texts.length) body.lastChild.remove();
  texts.forEach((line, index) => {
    const row = body.rows[index] ?? body.appendChild(set(document.createElement("tr"), { role: "row" }));
    while (row.cells.length > line.length) row.lastChild.remove();
    line.forEach((text, column) => {
      const cell = row.cells[column] ?? row.appendChild(document.createElement(name));
      dress(cell, column);
      put(cell, text);
    });
  });
}

function links(name, files) {
  return FILES.filter((file) => files.includes(file)).flatMap((file, index) => {
    const link = set(document.createElement("a"), { href: `/fl/${encodeURIComponent(name)}/${file}` });
    link.textContent = file;
    return index ? [", ", link] : [link];
  });
}

function set(node, values) {
  for (const [key, value] of Object.entries(values)) if (node.getAttribute(key) !== value) node.setAttribute(key, value);
  return node;
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const say = (selector, text) => put(find(selector), text);
