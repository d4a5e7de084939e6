// The viewer: the pictures of one pair at a time, a slider through time, and the vector under the pointer.
// Gradio calls this once with `element`, `props`, `watch` and `trigger`; props.value is mdflow.demo_page.viewing.Viewing.describe().

const SVG = "http://www.w3.org/2000/svg";
const FLO_HEADER = 12;
const KEPT_FLOWS = 8;
const MEGABYTE = 1e6;
const BLINK_MILLISECONDS = 450;

let view = null; // what is shown: the description of mdflow.demo_page.viewing
let number = 0; // of the pair
let tiles = [];
let page = {};
let point = null; // {x, y} of frame 1 in pixels
let hovered = null; // the picture under the pointer
let pinned = false;
let playing = false;
let blinking = null;
const flows = new Map();

function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
const pair = () => view.pairs[number];
const address = (kind, suffix, at = number) => `${view.files}/${kind}/${view.pairs[at].name}.${suffix}`;

function kindsOfTiles() {
  const frame = { kind: "frame1", suffix: "jpg", title: "Frame 1", note: () => "" };
  const ofNetwork = (name, k) => [
    { kind: `colour${k}`, title: name, note: () => (k === 0 ? `flow to ${pair().scale.toFixed(1)} px` : "flow"), wheel: k === 0 },
    { kind: `occlusion${k}`, title: "Occlusion", note: () => "white: hidden in frame 2" },
    { kind: `confidence${k}`, title: "Confidence", note: () => "white: certain" },
  ];
  const [first, second] = view.networks.map(ofNetwork);
  if (!second) return [frame, ...first];
  const difference = { kind: "difference", title: "Apart", note: () => `white: ${view.difference} px or more` };
  const frame2 = { kind: "frame2", suffix: "jpg", title: "Frame 2", note: () => "" };
  return [frame, first[0], second[0], difference, first[1], second[1], frame2, first[2], second[2]];
}

function makeTile(kind) {
  const image = make("img", { alt: kind.title, draggable: false });
  const overlay = document.createElementNS(SVG, "svg");
  overlay.setAttribute("viewBox", `0 0 ${view.width} ${view.height}`);
  const note = make("span");
  const title = make("b", { textContent: kind.title, title: kind.title });
  const picture = make("div", { className: "picture" }, image, overlay);
  picture.style.aspectRatio = `${view.width} / ${view.height}`;
  if (kind.wheel) picture.append(make("img", { className: "wheel", alt: "colour of each direction", src: `${view.files}/wheel.png` }));
  picture.addEventListener("pointermove", (event) => !pinned && pointAt(event, picture));
  picture.addEventListener("pointerleave", () => !pinned && (point = null, draw()));
  picture.addEventListener("click", (event) => (pinned = !pinned, pointAt(event, picture)));
  return { suffix: "png", ...kind, image, overlay, title, noteElement: note, figure: make("figure", {}, make("figcaption", {}, title, note), picture) };
}

function pointAt(event, picture) {
  const box = picture.getBoundingClientRect();
  hovered = picture;
  const place = (share, length) => Math.min(Math.max(Math.floor(share * length), 0), length - 1);
  point = {
    x: place((event.clientX - box.left) / box.width, view.width),
    y: place((event.clientY - box.top) / box.height, view.height),
  };
  draw();
}

function build() {
  Object.assign(page, {
    play: make("button", { className: "play", textContent: "▶", title: "play", onclick: play }),
    slider: make("input", { type: "range", min: 0, value: 0, ariaLabel: "pair", oninput: () => show(Number(page.slider.value)) }),
    time: make("output"),
    blink: make("button", { textContent: "Blink frames", title: "show frames 1 and 2 in turn", onclick: blink }),
    links: make("span"),
    table: make("tbody"),
    hint: make("div", { className: "hint" }),
    label: make("div", { className: "label" }),
  });
  const time = make("div", { className: "time" }, page.play, page.slider, page.time);
  const toolbar = make("div", { className: "toolbar" }, time, page.blink, page.links);
  page.links.style.cssText = "display: flex; flex-wrap: wrap; gap: 8px";
  tiles = kindsOfTiles().map(makeTile);
  const grid = make("div", { className: "tiles" }, ...tiles.map((tile) => tile.figure));
  grid.style.setProperty("--columns", view.networks.length > 1 ? 3 : 2);
  const names = ["", "dx", "dy", "speed", "in frame 2", "confidence", "score", "mean score", "visible"];
  const head = make("tr", {}, ...names.map((name) => make("th", { textContent: name })));
  [6, 7].forEach((cell) => (head.cells[cell].title = "what the flow leaves unexplained, without labels; less is better"));
  const table = make("table", {}, make("thead", {}, head), page.table);
  element.querySelector(".stage").replaceChildren(toolbar, grid, table, page.hint);
}

async function show(at) {
  number = at;
  page.slider.value = at;
  page.time.textContent = `pair ${at + 1} of ${view.total}`;
  const addresses = tiles.map((tile) => address(tile.kind, tile.suffix));
  await Promise.all(addresses.map(loaded));
  if (number !== at) return; // slid on in the meantime
  tiles.forEach((tile, i) => {
    tile.image.src = addresses[i];
    tile.noteElement.textContent = tile.note();
  });
  showLinks();
  draw();
  if (at + 1 < view.pairs.length) tiles.forEach((tile) => loaded(address(tile.kind, tile.suffix, at + 1)));
}

function loaded(source) {
  const image = new Image();
  image.src = source;
  return image.decode().catch(() => {}); // a picture that is gone shows as missing
}

function showLinks() {
  const link = (text, href, name) => make("a", { className: "button", textContent: text, href, onclick: (event) => save(event, href, name) });
  const stem = (name) => `${view.title}_${name}`.replace(/[^\w.-]+/g, "_");
  page.links.replaceChildren(
    ...view.networks.map((name, k) => {
      const text = view.networks.length > 1 ? `.flo, ${name}` : "Flow (.flo)";
      return link(text, address(`flow${k}`, "flo"), `${stem(name)}_${pair().name}.flo`);
    }),
    ...(view.film ? [link("Film (.mp4)", `${view.files}/film.mp4`, `${stem(view.networks.join("_"))}.mp4`)] : []),
  );
}

async function save(event, source, name) {
  event.preventDefault(); // the server would have it called after its place in the folder
  const content = await (await fetch(source)).blob();
  const link = make("a", { href: URL.createObjectURL(content), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}

async function flowOf(k) {
  const source = address(`flow${k}`, "flo");
  if (!flows.has(source)) {
    flows.set(source, fetch(source).then(async (answer) => new Float32Array(await answer.arrayBuffer(), FLO_HEADER)));
    if (flows.size > KEPT_FLOWS) flows.delete(flows.keys().next().value);
  }
  return flows.get(source);
}

function grayAt(kind) {
  const image = tiles.find((tile) => tile.kind === kind).image;
  const canvas = make("canvas", { width: 1, height: 1 });
  const context = canvas.getContext("2d");
  context.drawImage(image, point.x, point.y, 1, 1, 0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data[0] / 255;
}

async function draw() {
  const at = number, where = point;
  const vectors = where && await Promise.all(view.networks.map(async (_, k) => {
    const flow = await flowOf(k);
    const first = 2 * (where.y * view.width + where.x);
    return [flow[first], flow[first + 1]];
  }));
  if (number !== at || point !== where) return; // moved on in the meantime
  tiles.forEach((tile) => drawMarks(tile, vectors));
  page.table.replaceChildren(...view.networks.map((name, k) => row(name, k, vectors && vectors[k])));
  drawLabel(vectors);
  page.hint.textContent = where ? placeText(vectors) : "Point at a picture to read the vector there; click to hold the place.";
}

function drawLabel(vectors) {
  page.label.remove();
  if (!vectors) return;
  page.label.textContent = vectors.map(([dx, dy]) => `dx ${signed(dx)}  dy ${signed(dy)} px`).join("\n");
  hovered.append(page.label);
  page.label.style.left = beside(point.x / view.width, hovered.clientWidth, page.label.offsetWidth);
  page.label.style.top = beside(point.y / view.height, hovered.clientHeight, page.label.offsetHeight);
}

// Where something of a length begins that stands after a point, before it where there is no room, and never over an edge.
function beside(share, room, length) {
  const after = share * room + 12, before = share * room - 12 - length;
  return `${after + length <= room ? after : Math.max(before, 0)}px`;
}

function placeText(vectors) {
  const apart = vectors.length > 1 ? ` The two are ${Math.hypot(vectors[0][0] - vectors[1][0], vectors[0][1] - vectors[1][1]).toFixed(2)} px apart.` : "";
  return `At x ${point.x}, y ${point.y} of ${view.width}×${view.height}.${apart}${pinned ? " Held: click to let go." : ""}`;
}

function row(name, k, vector) {
  const { score, visible } = pair().scores[k];
  const here = vector
    ? [signed(vector[0]), signed(vector[1]), `${Math.hypot(...vector).toFixed(2)} px`,
      grayAt(`occlusion${k}`) > 0.5 ? "hidden" : "visible", `${Math.round(100 * grayAt(`confidence${k}`))} %`]
    : Array(5).fill("–");
  const mean = view.pairs.reduce((sum, each) => sum + each.scores[k].score, 0) / view.pairs.length;
  const cells = [name, ...here, score.toFixed(1), mean.toFixed(1), `${visible.toFixed(0)} %`];
  return make("tr", {}, ...cells.map((text) => make("td", { textContent: text })));
}

function drawMarks(tile, vectors) {
  const marks = [];
  const mark = (tag, attributes) => {
    const made = document.createElementNS(SVG, tag);
    const all = { fill: "none", "vector-effect": "non-scaling-stroke", ...attributes };
    Object.entries(all).forEach(([key, value]) => made.setAttribute(key, value));
    marks.push(made);
  };
  if (vectors) {
    const x = point.x + 0.5, y = point.y + 0.5, radius = view.width / 80;
    for (const [colour, width] of [["#000", 4], ["#fff", 1.8]]) {
      vectors.forEach(([dx, dy], k) => {
        const own = tile.kind.endsWith(k) || !/\d$/.test(tile.kind) || tile.kind.startsWith("frame");
        if (own) mark("line", { x1: x, y1: y, x2: x + dx, y2: y + dy, stroke: colour, "stroke-width": width });
        if (own && tile.kind === "frame2") mark("circle", { cx: x + dx, cy: y + dy, r: radius, stroke: colour, "stroke-width": width });
      });
      if (tile.kind !== "frame2") mark("circle", { cx: x, cy: y, r: radius, stroke: colour, "stroke-width": width });
    }
  }
  tile.overlay.replaceChildren(...marks);
}

async function play() {
  playing = !playing;
  page.play.textContent = playing ? "❚❚" : "▶";
  page.play.title = playing ? "pause" : "play";
  while (playing && element.isConnected) {
    const wait = new Promise((resolve) => setTimeout(resolve, 1000 / view.rate));
    await show((number + 1) % view.pairs.length);
    await wait;
  }
}

function blink() {
  const frame = tiles[0];
  const use = (kind, title) => {
    frame.kind = kind;
    frame.title.textContent = title;
    frame.image.src = address(kind, frame.suffix);
    draw();
  };
  clearInterval(blinking);
  blinking = blinking ? null : setInterval(() => {
    frame.kind === "frame1" ? use("frame2", "Frame 2") : use("frame1", "Frame 1");
  }, BLINK_MILLISECONDS);
  if (!blinking) use("frame1", "Frame 1");
  page.blink.ariaPressed = String(Boolean(blinking));
}

function render() {
  const value = props.value;
  if (!value || !value.pairs || !value.pairs.length) return;
  const anew = !view || view.files !== value.files;
  view = value;
  if (anew) {
    clearInterval(blinking);
    [number, point, pinned, playing, blinking] = [0, null, false, false, null];
    flows.clear();
    build();
  } else if (!element.contains(page.slider)) {
    build();
  }
  page.slider.max = view.pairs.length - 1;
  if (anew) show(0);
  else {
    page.time.textContent = `pair ${number + 1} of ${view.total}`;
    showLinks();
  }
}

function refuseLarge(event) {
  const files = [...((event.dataTransfer ?? event.target).files ?? [])];
  const large = files.find((file) => file.size > props.megabytes * MEGABYTE);
  if (!large) return;
  event.stopImmediatePropagation();
  event.preventDefault();
  if (event.type === "change") event.target.value = "";
  trigger("too_large", { name: large.name, megabytes: large.size / MEGABYTE });
}

watch("value", render);
render();
// Before Gradio sees the file: it would send all of it, only to be refused without a word.
["change", "drop"].forEach((kind) => document.addEventListener(kind, refuseLarge, true));
