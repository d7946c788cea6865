/* Every slide is measured once, before it is shown: what is too tall gets smaller pictures, then smaller letters. */
const pictures = (section) => [...section.querySelectorAll("img:not(.formula)")];
const overflows = (section) => section.scrollHeight > section.clientHeight || section.scrollWidth > section.clientWidth;

/* Make it fit. Returns the area that is left for its pictures. */
function shrink(section) {
  const images = pictures(section);
  section.style.removeProperty("--fit");
  delete section.dataset.fit;
  for (const image of images) {
    image.style.width = image.style.height = "auto";
    image.style.maxWidth = "100%";
    if (image.hasAttribute("width")) image.style.width = image.getAttribute("width") + "px";
  }
  for (let turn = 0; turn < 4 && images.length && overflows(section); turn++) {
    const over = section.scrollHeight - section.clientHeight;
    for (const image of images) {
      const now = image.getBoundingClientRect().height;
      image.style.width = "auto";
      image.style.height = Math.max(Math.min(now, 220), now - over / images.length) + "px";
    }
  }
  for (let scale = 0.98; scale >= 0.4 && overflows(section); scale -= 0.02) {
    section.style.setProperty("--fit", scale.toFixed(2));
    section.dataset.fit = scale.toFixed(2);
  }
  return images.map((image) => image.getBoundingClientRect()).reduce((sum, box) => sum + box.width * box.height, 0);
}

/* What the cells show, moved beside them. Returns the way back. */
function beside(section) {
  const cells = [...section.children].filter((cell) => cell.matches(".jp-CodeCell"));
  const outputs = [...section.querySelectorAll(".jp-Cell-outputWrapper")];
  const homes = outputs.map((output) => output.parentElement);
  const [columns, left, right] = [0, 1, 2].map(() => document.createElement("div"));
  columns.className = "columns";
  columns.append(left, right);
  cells[0].before(columns);
  left.append(...cells);
  right.append(...outputs);
  return () => {
    outputs.forEach((output, n) => homes[n].append(output));
    columns.replaceWith(...cells);
  };
}

/* Code above its picture, or beside it, whichever leaves the picture clearly larger. */
function fitSlide(section) {
  const above = shrink(section);
  const code = [...section.querySelectorAll(".jp-CodeCell .jp-Cell-inputWrapper")].some((part) => part.offsetHeight > 0);
  if (!pictures(section).length || !code) return;
  const back = beside(section);
  if (shrink(section) < 1.25 * above || overflows(section)) {
    back();
    shrink(section);
  }
}

const SMALLEST = 0.7; /* letters smaller than that go on to a slide of their own */
const tooSmall = (section) => { shrink(section); return overflows(section) || Number(section.dataset.fit || 1) < SMALLEST; };

const isRunning = (part) => Boolean(part.querySelector(".running"));

/* An empty copy of the way from a section down to a part of it, with the head of each table on it. */
function shell(node, section) {
  const copy = node.cloneNode(false);
  copy.removeAttribute("id");
  if (node === section) {
    copy.removeAttribute("style");
    const running = [...section.children].find(isRunning);
    if (running) copy.append(running.cloneNode(true));
    return [copy, copy];
  }
  const [top, end] = shell(node.parentElement, section);
  if (node.tagName === "TBODY" && node.parentElement.tHead) end.append(node.parentElement.tHead.cloneNode(true));
  end.append(copy);
  return [top, copy];
}

/* What is still too much goes on, on a slide below: first what the code shows, then part after part of that. */
function splitSlide(section, depth = 0) {
  if (depth > 12 || pictures(section).length || !tooSmall(section)) return;
  const outputs = [...section.querySelectorAll(".jp-Cell-outputWrapper")];
  if (!outputs.length) return;
  const first = outputs[0];
  const cell = first.closest(".jp-Cell");
  const others = [...section.children].filter((part) => !isRunning(part) && !part.matches(".notes"));
  const code = cell.querySelector(".jp-Cell-inputWrapper");
  let next, end;
  if (others.length > 1 || (code && code.offsetHeight > 0)) {
    [next, end] = shell(cell, section);
    end.append(...outputs);
    shrink(section);
  } else {
    let part = first;
    while (part.children.length === 1) part = part.firstElementChild;
    if (part.tagName === "TABLE") part = part.tBodies[0];
    if (!part || part.children.length < 2) return;
    [next, end] = shell(part, section);
    while (part.children.length > 1 && tooSmall(section)) end.prepend(part.lastElementChild);
    if (part.children.length > 1 && /^H[1-6]$/.test(part.lastElementChild.tagName)) end.prepend(part.lastElementChild);
    tooSmall(section);
  }
  section.after(next);
  splitSlide(next, depth + 1);
}

async function startSlides(width, height) {
  const root = document.documentElement;
  root.style.setProperty("--slide-width", width + "px");
  root.style.setProperty("--slide-height", height + "px");
  await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
  document.body.classList.add("fitting");
  document.querySelectorAll(".jp-Collapser").forEach((part) => part.remove());
  const sections = [...document.querySelectorAll(".slides > section > section")];
  sections.forEach(fitSlide);
  sections.forEach((section) => splitSlide(section));
  document.body.classList.remove("fitting");
  Reveal.initialize({
    width, height, margin: 0.02, minScale: 0.1, maxScale: 3, center: false, hash: true, slideNumber: "c/t",
    transition: "none", backgroundTransition: "none", plugins: [RevealNotes],
  });
}
