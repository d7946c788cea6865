// The aggregator's dashboard: asks once a second what has changed, reads it, shows it. The server gone, it says so and
// keeps asking; what it showed stays.

import { readProject } from "/dashboard-state.js";
import { showCharts, showNothing, showNow, showProject } from "/dashboard-view.js";

const EVERY_MS = 1000;
const PATIENCE_MS = 5000;
const FILES = ["accuracy_metrics.json", "participants.json", "history.json"];

let index = { email: "", projects: [] };
let shown = null; // the project in the page, as readProject made it
let known = { name: "", versions: {}, contents: {} }; // its files, as they were read last
let shownOnce = false;
let answered = null; // when the server answered last

const find = (id) => document.getElementById(id);

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  return answer.ok ? answer.text() : "";
}

async function look() {
  let files;
  try {
    index = JSON.parse(await ask("/dashboard.json"));
    files = await readChosen();
  } catch {
    showServer(false);
    return;
  }
  answered = new Date();
  showServer(true);
  find("email").textContent = index.email;
  showChoice();
  showFiles(files);
  showNow(shown, chosen()?.times);
}

/** The project in the address, else the one that changed last. */
function chosen() {
  const { projects } = index;
  const wanted = decodeHash();
  const newest = projects.reduce((a, b) => (a && a.changed >= b.changed ? a : b), null);
  return projects.find((one) => one.name === wanted) ?? projects.find((one) => one.name === known.name) ?? newest;
}

function decodeHash() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

/** The files of the chosen project: those that have not changed are not asked for again. */
async function readChosen() {
  const project = chosen();
  if (!project) return { name: "", versions: {}, contents: {} };
  const now = { name: project.name, versions: {}, contents: {} };
  await Promise.all(FILES.map((file) => read(project, file, now)));
  return now;
}

function showFiles(now) {
  const project = chosen();
  if (now.name !== (project?.name ?? "")) return; // another one was chosen meanwhile: the next look shows it
  const same = shownOnce && known.name === now.name && FILES.every((file) => known.versions[file] === now.versions[file]);
  known = now;
  if (same) return;
  shownOnce = true;
  shown = project ? readProject(now.name, ...FILES.map((file) => now.contents[file])) : null;
  if (!shown) showNothing();
  else showProject(shown, new Date(1000 * project.changed), Object.keys(project.files));
  find("project").value = now.name;
  // the address names what is shown: a reload and the way back find it again
  if (project && !location.hash) history.replaceState(null, "", `#${encodeURIComponent(now.name)}`);
}

/** A file's content into `now`: the old one where its version is the same, or where it is half written. */
async function read(project, file, now) {
  const before = known.name === project.name ? known : { versions: {}, contents: {} };
  const version = project.files[file];
  now.versions[file] = version === undefined ? undefined : before.versions[file];
  now.contents[file] = version === undefined ? null : (before.contents[file] ?? null);
  if (version === now.versions[file]) return;
  const text = await ask(`/fl/${encodeURIComponent(project.name)}/${file}`);
  try {
    now.contents[file] = JSON.parse(text);
    now.versions[file] = version;
  } catch {
    // its writer is still busy: the next look reads it again
  }
}

function showChoice() {
  const select = find("project");
  const names = index.projects.map((one) => one.name);
  find("choose").hidden = names.length < 2;
  if (names.join("/") === [...select.options].map((option) => option.value).join("/")) return;
  const before = select.value;
  select.replaceChildren(...names.map((name) => new Option(name, name)));
  if (names.includes(before)) select.value = before;
}

function showServer(there) {
  const live = find("live");
  const text = there ? "live" : "no answer";
  if (live.textContent !== text) live.textContent = text;
  document.body.classList.toggle("stale", !there);
  const gone = find("gone");
  if (there) gone.textContent = "";
  else if (!gone.textContent) {
    gone.textContent =
      `The server does not answer. If fedkit client or fedkit run was stopped, start it again. This page keeps asking` +
      (answered ? `; what it shows is from ${answered.toLocaleTimeString()}.` : ".");
  }
}

async function keepLooking() {
  try {
    await look();
  } finally {
    setTimeout(keepLooking, EVERY_MS);
  }
}

find("project").addEventListener("change", (event) => {
  location.hash = encodeURIComponent(event.target.value);
});
window.addEventListener("hashchange", look);

let width = 0;
new ResizeObserver(([entry]) => {
  if (shown && entry.contentRect.width !== width) showCharts(shown);
  width = entry.contentRect.width;
}).observe(find("charts"));

keepLooking();
