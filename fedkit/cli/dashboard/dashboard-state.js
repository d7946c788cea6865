// What the three public files say, as plain data: no page, no clock, so that a test can ask it anything.
// The files come from whoever runs the aggregator: each value is looked at before it is believed.

const NAMES_SHOWN = 3;

/** The project as one object. Each argument is a parsed file, or null where there is none. */
export function readProject(name, metrics, participants, history) {
  const people = list(participants).filter(isObject).map(person);
  const told = isObject(history) ? history : {};
  const byRound = new Map();
  for (const row of list(metrics)) note(byRound, row);
  for (const row of list(told.history)) note(byRound, row);
  byRound.delete(0); // a placeholder: nobody measured the model before the first round
  const rounds = [...byRound.values()].sort((a, b) => a.round - b.round);
  const total = count(told.rounds) ?? Math.max(0, ...people.map((one) => one.total));
  return {
    name,
    people,
    rounds,
    total, // 0 where nobody says it
    span: Math.max(total, rounds.at(-1)?.round ?? 0),
    modelBytes: count(told.model_bytes),
    detailed: isObject(history),
    published: [metrics, participants, history].some((file) => file !== null),
  };
}

/**
 * Where the project stands: {kind, headline, detail, who, step, began}; kind is none, waiting, running or done. who acts now
 * and the step they are at, in words, "" where nobody does; began : of the times that the server gives, which one it was.
 */
export function standing(project) {
  const last = project.rounds.at(-1);
  const over = last?.round ?? 0;
  if (!project.published) {
    return { kind: "none", headline: "Nothing published yet", detail: "The aggregator has not begun with this project.", ...acts("the aggregator", "launches the project", "") };
  }
  if (project.total && over >= project.total) {
    return {
      kind: "done",
      headline: `Done: ${plural(project.total, "round")}`,
      detail: `The global model gets ${percent(last.accuracy)} of the aggregator’s test images right.`,
      ...acts("", "", "ended"),
    };
  }
  const waits = waitingFor(project);
  if (over === 0 && waits && !project.people.some((one) => one.sent || one.phase)) {
    return { kind: "waiting", ...waits };
  }
  const now = over + 1;
  const sent = project.people.filter((one) => one.sent >= now);
  const busy = project.people.filter((one) => one.phase?.round === now && !one.phase.over && one.sent < now);
  const parts = [];
  if (sent.length) parts.push(`${plural(sent.length, "update")} of this round ${sent.length === 1 ? "has" : "have"} arrived.`);
  else if (project.people.length) parts.push("No update of this round has arrived yet.");
  if (busy.length) parts.push(`Training now: ${names(busy)}.`);
  return {
    kind: "running",
    headline: `Round ${now}${project.total ? ` of ${project.total}` : ""} is under way`,
    detail: parts.join(" "),
    ...stepOf(project, now, busy),
  };
}

const acts = (who, step, began) => ({ who, step, began });

/** Who acts in a round: who trains, else whose update is missing, else the aggregator, which has them all. */
function stepOf(project, now, busy) {
  const missing = project.people.filter((one) => one.approved && !(one.sent >= now));
  const many = (some) => (some.length === 1 ? "s" : "");
  if (busy.length) {
    const at = busy.filter((one) => one.epochs).slice(0, NAMES_SHOWN);
    const epochs = at.map((one) => (busy.length > 1 ? `${one.email} in ` : "") + `epoch ${one.epoch} of ${one.epochs}`);
    return acts(names(busy), `train${many(busy)} in round ${now}${epochs.length ? ` (${epochs.join(", ")})` : ""}`, "round");
  }
  if (missing.length) return acts(names(missing), `take${many(missing)} part in round ${now}: train${many(missing)}, then send${many(missing)} an update`, "round");
  if (project.people.length) return acts("the aggregator", `averages and measures round ${now}`, "people");
  return acts("", "", "round");
}

/** A time of day and how long ago that is: "22:31:05 (4 min)"; "" where nobody knows. Both in seconds since 1970. */
export function since(began, now) {
  if (!(began > 0)) return "";
  const gone = Math.max(0, Math.round(now - began));
  const [hours, minutes] = [Math.floor(gone / 3600), Math.floor(gone / 60) % 60];
  const ago = hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min` : `${gone} s`;
  const when = new Date(1000 * began);
  const day = gone > 20 * 3600 ? `${when.toLocaleDateString([], { dateStyle: "medium" })}, ` : "";
  return `${day}${when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" })} (${ago})`;
}

/** Bytes of weights that crossed: {out, into}, as near as the public files tell; null where they don't. */
export function traffic(project) {
  if (!project.modelBytes) return null;
  const readers = project.people.filter((one) => one.approved).length;
  const begun = project.rounds.length || project.people.some((one) => one.phase) ? 1 : 0;
  const updates = project.rounds.reduce((sum, row) => sum + (updatesOf(row) ?? 0), 0);
  return {
    out: readers * (project.rounds.length + begun) * project.modelBytes,
    into: updates * project.modelBytes,
  };
}

/** How many updates arrived in a round, sound or not. */
export function updatesOf(row) {
  return row.participants === null ? null : row.participants + (row.refused ?? 0);
}

/** What changed in a round's settings since the round before: "lr 0.05", "2 epochs", or "". */
export function changeOf(row, before) {
  if (!before) return "";
  const changes = [];
  if (differ(row.learning_rate, before.learning_rate)) changes.push(`lr ${number(row.learning_rate)}`);
  if (differ(row.local_epochs, before.local_epochs)) changes.push(plural(row.local_epochs, "epoch"));
  return changes.join(", ");
}

export const percent = (share) => (share === null ? "?" : `${(100 * share).toFixed(1)}%`);

export const number = (value) => (value && Math.abs(value) < 1e-3 ? String(Number(value.toPrecision(2)).toExponential()) : String(Number(value.toPrecision(4))));

export const nats = (loss) => (loss < 1e-3 ? number(loss) : loss.toFixed(3));

export const plural = (n, thing) => `${n} ${thing}${n === 1 ? "" : "s"}`;

/** Bytes as a person says them; 1 kB is 1,000 bytes. */
export function size(bytes) {
  if (bytes < 1e3) return `${bytes} B`;
  const [value, unit] = bytes < 999_500 ? [bytes / 1e3, "kB"] : bytes < 999.5e6 ? [bytes / 1e6, "MB"] : [bytes / 1e9, "GB"];
  return `${value.toFixed(value < 99.95 ? 1 : 0)} ${unit}`;
}

function waitingFor(project) {
  const { people } = project;
  // The real aggregator says "installed" only of clients that left it a mark, so an approval says it too.
  const away = people.filter((one) => !one.approved && !one.installed);
  const asked = people.filter((one) => !one.approved && one.installed);
  const empty = people.filter((one) => one.approved && !one.data);
  const detail = [
    away.length ? `${names(away)}: start the client.` : "",
    asked.length ? `${names(asked)}: look at the request and approve it.` : "",
    empty.length ? `${names(empty)}: put training data into the private folder.` : "",
  ].filter(Boolean);
  if (!detail.length) return null;
  const some = asked.length ? asked : away.length ? away : empty;
  const s = some.length === 1 ? "s" : "";
  const [what, step] = asked.length
    ? ["approval", `look${s} at the request and answer${s}`]
    : away.length
      ? ["participants", `start${s} the client`]
      : ["private data", `put${s} training data into the private folder`];
  const began = some === empty ? "people" : "asked";
  return { headline: `Waiting for ${what}`, detail: detail.join(" "), ...acts(names(some), step, began) };
}

function person(row) {
  const [sent, total] = String(row["Round (current/total)"] ?? "").split("/").map((text) => Number.parseInt(text, 10));
  return {
    email: String(row.Email ?? "?"),
    installed: row["Fl Client Installed"] === true,
    approved: row["Project Approved"] === true,
    data: row["Added Private Data"] === true,
    sent: sent || 0,
    total: total || 0,
    ...doing(row["Training Progress"]),
  };
}

/** "Training InProgress for Round 2 (Curr Epoc: 3/10)" and its kin, in words; anything else as it stands. */
function doing(text) {
  if (typeof text !== "string" || text === "N/A") return { doing: "", phase: null };
  const found = /^Training (Started|InProgress|Completed) for Round (\d+)(?: \(Curr Epoc: (\d+)\/(\d+)\))?/i.exec(text);
  if (!found) return { doing: text.slice(0, 200), phase: null };
  const [, what, round, epoch, epochs] = found;
  const over = what.toLowerCase() === "completed";
  const words = over ? `trained round ${round}` : `training round ${round}${epoch ? `, epoch ${epoch} of ${epochs}` : ""}`;
  return { doing: words, phase: { round: Number(round), over }, epoch: Number(epoch ?? 0), epochs: Number(epochs ?? 0) };
}

function note(byRound, row) {
  if (!isObject(row) || count(row.round) === null) return;
  const before = byRound.get(row.round) ?? {};
  const keys = ["accuracy", "loss", "learning_rate", "local_epochs", "asked", "participants", "refused", "absent"];
  const values = keys.map((key) => [key, finite(row[key]) ?? before[key] ?? null]);
  byRound.set(row.round, { round: row.round, ...Object.fromEntries(values) });
}

function names(people) {
  const shown = people.slice(0, NAMES_SHOWN).map((one) => one.email);
  const more = people.length - shown.length;
  return shown.join(", ") + (more ? ` and ${more} more` : "");
}

const list = (value) => (Array.isArray(value) ? value : []);
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const finite = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);
const count = (value) => (Number.isInteger(value) && value >= 0 ? value : null);
const differ = (a, b) => a !== null && b !== null && a !== b;
