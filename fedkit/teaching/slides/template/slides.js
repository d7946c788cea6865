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
    const asked = Number(image.getAttribute("width"));
    /* alone, as large as there is room and sharpness for: people look from far away */
    if (asked) image.style.width = (images.length > 1 ? asked : Math.max(asked, Math.min(1.6 * asked, image.naturalWidth))) + "px";
  }
  for (let turn = 0; turn < 4 && images.length && overflows(section); turn++) {
    const over = section.scrollHeight - section.clientHeight;
    for (const image of images) {
      const now = image.getBoundingClientRect().height;
      image.style.width = "auto";
      image.style.height = Math.max(Math.min(now, 220), now - over / images.length) + "px";
    }
  }
  let fits = 30; /* so many steps of 0.02 below 1; the largest letters that fit, by halves */
  for (let most = overflows(section) ? 0 : fits; fits - most > 1;) {
    const step = (most + fits) >> 1;
    section.style.setProperty("--fit", 1 - step / 50);
    if (overflows(section)) most = step;
    else fits = step;
    section.dataset.fit = (1 - fits / 50).toFixed(2);
    section.style.setProperty("--fit", section.dataset.fit);
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

/* Code above its picture, or beside it, whichever leaves the picture clearly larger. Returns the way back. */
function fitSlide(section) {
  const above = shrink(section);
  const code = [...section.querySelectorAll(".jp-CodeCell .jp-Cell-inputWrapper")].some((part) => part.offsetHeight > 0);
  if (!pictures(section).length || !code) return () => {};
  const back = beside(section);
  if (shrink(section) >= 1.25 * above && !overflows(section)) return back;
  back();
  shrink(section);
  return () => {};
}

const SMALLEST = 0.7, LEAST = 0.5; /* letters, and pictures, smaller than that go on to a slide of their own */
const tiny = (image) => image.getBoundingClientRect().width < LEAST * Number(image.getAttribute("width"));
const tooSmall = (section) => {
  shrink(section);
  return overflows(section) || Number(section.dataset.fit || 1) < SMALLEST || pictures(section).some(tiny);
};

const isRunning = (part) => Boolean(part.querySelector(".running"));
const ofSlide = (section) => [...section.children].filter((part) => !isRunning(part) && !part.matches(".notes"));
const isHeading = (part) => /^H[1-6]$/.test(part.tagName) || (part.tagName === "P" && part.matches(":has(> strong:only-child)"));

/* What can go on to the next slide one by one: rows of a table, items of a list, paragraphs, pictures. */
function parts(node) {
  if (node.matches("thead, caption, colgroup, style, script")) return [];
  const words = [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
  const whole = words || !node.children.length || node.matches("p, pre, h1, h2, h3, h4, h5, h6, svg, .highlight");
  const opens = !whole && /^(block|flow-root|flex|grid|table|table-row-group)$/.test(getComputedStyle(node).display);
  return opens ? [...node.children].flatMap(parts) : [node];
}

const says = (part) => part.matches("img, svg, canvas") || part.querySelector("img, svg, canvas") || part.textContent.trim();

/* A slide below this one, and how a part goes on there: with copies of what it lies in, and the head of its table. */
function slideBelow(section) {
  const next = section.cloneNode(false);
  const copies = new Map([[section, next]]);
  const copyOf = (node) => {
    if (!copies.has(node)) {
      const copy = node.cloneNode(false);
      copy.removeAttribute("id");
      const above = copyOf(node.parentElement);
      above.prepend(copy);
      if (node.tagName === "TBODY" && node.parentElement.tHead) above.prepend(node.parentElement.tHead.cloneNode(true));
      copies.set(node, copy);
    }
    return copies.get(node);
  };
  next.removeAttribute("id");
  next.removeAttribute("style");
  const running = [...section.children].find(isRunning);
  const move = (part) => {
    let home = part.parentElement;
    copyOf(home).prepend(part);
    for (let above; home !== section && ![...home.children].flatMap(parts).length; home = above) {
      above = home.parentElement;
      home.remove();
    }
  };
  const done = () => {
    if (running) next.prepend(running.cloneNode(true));
    section.after(next);
  };
  return { next, move, done };
}

/* What is still too much goes on, on a slide below: first what the code shows, then the end of that, part by part. */
function splitSlide(section, back = () => {}, depth = 0) {
  if (depth > 12 || !tooSmall(section)) return;
  back();
  const outputs = [...section.querySelectorAll(".jp-Cell-outputWrapper")];
  if (!outputs.length) return;
  const code = outputs[0].closest(".jp-Cell").querySelector(".jp-Cell-inputWrapper");
  const { next, move, done } = slideBelow(section);
  if (ofSlide(section).length > 1 || (code && code.offsetHeight > 0)) {
    outputs.reverse().forEach(move);
    shrink(section);
  } else {
    const left = outputs.flatMap(parts);
    if (left.length < 2) return;
    while (left.length > 1 && tooSmall(section)) move(left.pop());
    while (left.length > 1 && isHeading(left[left.length - 1])) move(left.pop());
    shrink(section);
  }
  done();
  splitSlide(next, undefined, depth + 1);
}

async function startSlides(width, height) {
  const root = document.documentElement;
  root.style.setProperty("--slide-width", width + "px");
  root.style.setProperty("--slide-height", height + "px");
  await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
  document.body.classList.add("fitting");
  document.querySelectorAll(".jp-Collapser").forEach((part) => part.remove());
  const sections = [...document.querySelectorAll(".slides > section > section")];
  sections.forEach((section) => {
    [...section.querySelectorAll(".jp-Cell-outputWrapper")].flatMap(parts).filter((part) => !says(part)).forEach((part) => part.remove());
    splitSlide(section, fitSlide(section));
  });
  document.body.classList.remove("fitting");
  Reveal.initialize({
    width, height, margin: 0.02, minScale: 0.1, maxScale: 3, center: false, hash: true, slideNumber: "c/t",
    transition: "none", backgroundTransition: "none", plugins: [RevealNotes],
  });
}
