// The report of one reconstruction: pictures, bands and spectra that follow each other.

const $ = id => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const {height, width, side, wavelengths, spectra} = data;  // pictures have a pixel for each square of this side
const C = data.bands.estimate.length;
const names = Object.keys(data.pictures);  // estimate, and truth where it is known
const axis = wavelengths || Array.from({length: C}, (_, band) => band + 1);
const state = {view: "colour", band: Math.floor(C / 2), cross: null, points: [], number: 0};

// -- numbers ----------------------------------------------------------------------------------------------------

function unpacked(text) {
  const bytes = atob(text);
  const steps = new Uint16Array(bytes.length / 2);
  for (let k = 0; k < steps.length; k++) steps[k] = bytes.charCodeAt(2 * k) | (bytes.charCodeAt(2 * k + 1) << 8);
  return steps;
}

const cubes = Object.fromEntries(names.map(name => [name, unpacked(spectra[name])]));

function spectrum(name, row, column) {
  const y = Math.floor(row / spectra.factor), x = Math.floor(column / spectra.factor);
  const start = (y * spectra.width + x) * C;
  const steps = cubes[name].subarray(start, start + C);
  return Array.from(steps, step => step === spectra.none ? null : spectra.low + spectra.step * step);  // null: no data
}

// -- pictures ---------------------------------------------------------------------------------------------------

const figures = names.map(name => {
  const figure = document.createElement("figure");
  const picture = document.createElement("div");
  picture.className = "picture" + (width < 300 ? " coarse" : "");
  picture.tabIndex = 0;
  picture.setAttribute("role", "application");
  picture.setAttribute("aria-label", `${name}; arrow keys move the cross, Enter takes the spectrum there`);
  const image = document.createElement("img");
  image.draggable = false;
  picture.append(image);
  picture.style.aspectRatio = `${width} / ${height}`;
  image.style.aspectRatio = `${width} / ${height}`;
  const caption = document.createElement("figcaption");
  figure.append(picture, caption);
  $("pictures").append(figure);
  picture.addEventListener("click", event => {
    const box = picture.getBoundingClientRect();
    const inside = (place, side) => Math.min(side - 1, Math.max(0, Math.floor(place * side)));
    state.cross = null;
    add(inside((event.clientY - box.top) / box.height, height), inside((event.clientX - box.left) / box.width, width));
  });
  picture.addEventListener("keydown", event => {
    const moves = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
    let [row, column] = state.cross || [height >> 1, width >> 1];
    if (event.key in moves) {
      const [down, across] = moves[event.key].map(move => move * (event.shiftKey ? 10 : 1));
      row = Math.min(height - 1, Math.max(0, row + down));
      column = Math.min(width - 1, Math.max(0, column + across));
      state.cross = [row, column];
      announce(`row ${row}, column ${column}`);
      drawMarks();
    } else if (event.key === "Enter" || event.key === " ") {
      state.cross = [row, column];
      add(row, column);
    } else {
      return;
    }
    event.preventDefault();
  });
  picture.addEventListener("blur", () => {
    state.cross = null;
    drawMarks();
  });
  return {name, picture, image, caption};
});

function bandLabel(band) {
  return wavelengths ? `band ${band + 1} of ${C} · ${wavelengths[band].toFixed(1)} nm` : `band ${band + 1} of ${C}`;
}

function drawPictures() {
  const {view, band} = state;
  for (const {name, picture, image, caption} of figures) {
    const pictures = data.pictures[name];
    const error = view === "error" && name === "estimate";
    const shown = view === "band" ? data.bands[name][band] : error ? data.error : pictures[view] || pictures.colour;
    if (image.src !== shown) image.src = shown;
    const what = view === "band" ? bandLabel(band) : error ? "error" : pictures[view] ? view : "colour";
    caption.textContent = `${name}: ${what}`;
    image.alt = caption.textContent;
    const tinted = view === "band" && $("tint").checked;
    picture.classList.toggle("tinted", tinted);
    picture.style.backgroundColor = tinted ? data.light[band] : "#000";
    const part = data.bands.white[band] / (bounds(data.bands.white)[1] || 1);
    const dim = view === "band" && $("one-scale").checked ? Math.max(part, 0) ** (1 / data.gamma) : 1;
    image.style.filter = dim === 1 ? "" : `brightness(${dim.toFixed(4)})`;
  }
  for (const each of document.querySelectorAll(".of-band")) each.hidden = view !== "band";
  for (const scale of document.querySelectorAll(".scale")) scale.hidden = scale.dataset.view !== view;
  $("band").value = band;
  $("band").setAttribute("aria-valuetext", bandLabel(band));
  $("band-words").textContent = bandLabel(band);
}

function drawMarks() {
  for (const {picture} of figures) {
    for (const mark of picture.querySelectorAll(".badge, .cross")) mark.remove();
    const put = (row, column, className) => {
      const mark = document.createElement("span");
      mark.className = className;
      mark.style.left = `${(column + 0.5) / width * 100}%`;
      mark.style.top = `${(row + 0.5) / height * 100}%`;
      picture.append(mark);
      return mark;
    };
    for (const point of state.points) {
      const mark = put(point.row, point.column, "badge");
      mark.textContent = point.number;
      mark.style.borderColor = point.colour;
    }
    if (state.cross && picture === document.activeElement) put(...state.cross, "cross");
  }
}

// -- spectra ----------------------------------------------------------------------------------------------------

const classAt = data.pictures.estimate.classes ? classReader(data.pictures.estimate.classes) : null;

// A class is recognised by its colour in the picture of classes, which is exact.
function classReader(url) {
  const canvas = document.createElement("canvas");
  const drawing = canvas.getContext("2d", {willReadFrequently: true});
  const image = new Image();
  image.onload = () => {
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    drawing.drawImage(image, 0, 0);
    drawTable();
  };
  image.src = url;
  return (row, column) => {
    const place = (at, length, pixels) => Math.floor(Math.floor(at / side) / Math.ceil(length / side) * pixels);
    const x = place(column, width, canvas.width), y = place(row, height, canvas.height);
    const pixel = drawing.getImageData(x, y, 1, 1).data;
    const colour = "#" + Array.from(pixel.slice(0, 3), part => part.toString(16).padStart(2, "0")).join("");
    const match = data.classes.find(each => each.colour === colour);
    return match ? match.name : "";
  };
}

function drawSpectra() {
  const lines = [];
  for (const point of state.points) {
    for (const name of names.slice().reverse()) {
      const dash = name === "truth" ? "7 4" : "";
      lines.push({x: axis, y: spectrum(name, point.row, point.column), colour: point.colour, dash, width: dash ? 1.8 : 2.2});
    }
  }
  chart($("spectra"), lines, {
    label: wavelengths ? "wavelength (nm)" : "band",
    strip: wavelengths && axis.map((nm, band) => [nm, data.light[band]]),
    mark: axis[state.band],
    zero: true,
  });
}

// Three significant digits of the brightest, at least three decimals.
const decimals = Math.min(9, Math.max(3, 2 - Math.floor(Math.log10(65535 * spectra.step))));

function cell(row, text, kind = "td") {
  const element = document.createElement(kind);
  if (text instanceof Node) element.append(text);
  else element.textContent = text;
  row.append(element);
  return element;
}

function drawTable() {
  $("at-band").textContent = wavelengths ? `at ${wavelengths[state.band].toFixed(1)} nm` : `at band ${state.band + 1}`;
  const rows = state.points.map(point => {
    const row = document.createElement("tr");
    const number = document.createElement("span");
    number.className = "badge number";
    number.textContent = point.number;
    number.style.borderColor = point.colour;
    const name = document.createElement("input");
    name.value = point.name;
    name.setAttribute("aria-label", `Name of point ${point.number}`);
    name.addEventListener("input", () => { point.name = name.value; });
    cell(row, number, "th").append(name);
    cell(row, `${point.row}, ${point.column}`);
    if (classAt) cell(row, classAt(point.row, point.column)).className = "text";
    const [estimate, truth] = ["estimate", "truth"].map(each => cubes[each] && spectrum(each, point.row, point.column));
    cell(row, estimate[state.band].toFixed(decimals));
    if (truth) {
      const r = correlation(estimate, truth);
      cell(row, truth[state.band] === null ? "–" : truth[state.band].toFixed(decimals));
      cell(row, r === null ? "–" : r.toFixed(3));
    }
    const remove = document.createElement("button");
    remove.textContent = "×";
    remove.setAttribute("aria-label", `Remove point ${point.number}`);
    remove.addEventListener("click", () => {
      state.points = state.points.filter(other => other !== point);
      drawPoints();
    });
    cell(row, remove);
    return row;
  });
  $("points").replaceChildren(...rows);
}

function drawPoints() {
  drawMarks();
  drawSpectra();
  drawTable();
}

function add(row, column) {
  const free = COLOURS.findIndex(colour => !state.points.some(point => point.colour === colour));
  state.number += 1;
  const colour = COLOURS[free < 0 ? (state.number - 1) % COLOURS.length : free];
  state.points.push({row, column, colour, number: state.number, name: `point ${state.number}`});
  announce(`point ${state.number} at row ${row}, column ${column}`);
  drawPoints();
}

function announce(text) {
  $("said").textContent = text;
}

// A field of a spreadsheet: quoted, and never a formula.
function field(value) {
  const text = String(value);
  return `"${(/^[=+\-@\t]/.test(text) ? "'" : "") + text.replaceAll('"', '""')}"`;
}

function csv() {
  const lines = [["point", "row", "column", "cube", ...axis.map(x => (wavelengths ? `${x} nm` : `band ${x}`))].map(field)];
  for (const point of state.points) {
    for (const name of names) {
      const values = spectrum(name, point.row, point.column).map(value => value === null ? "" : value.toPrecision(6));
      lines.push([field(point.name), point.row, point.column, name, ...values]);
    }
  }
  return lines.map(line => line.join(",")).join("\r\n") + "\r\n";
}

// -- controls -----------------------------------------------------------------------------------------

function setBand(band, show = true) {
  state.band = Math.min(C - 1, Math.max(0, band));
  if (show && state.view !== "band") {
    state.view = "band";
    document.querySelector('input[name="view"][value="band"]').checked = true;
  }
  drawPictures();
  drawSpectra();
  drawTable();
}

for (const choice of document.querySelectorAll('input[name="view"]')) {
  choice.addEventListener("change", () => {
    state.view = choice.value;
    drawPictures();
  });
}
$("band").max = C - 1;
$("band").addEventListener("input", () => setBand(Number($("band").value)));
$("tint").addEventListener("change", drawPictures);
$("one-scale").addEventListener("change", drawPictures);
$("spectra").addEventListener("click", event => {
  setBand(nearest(axis, $("spectra").place(event)));
});
$("clear").addEventListener("click", () => {
  [state.points, state.number] = [[], 0];
  drawPoints();
});
$("csv").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], {type: "text/csv"}));
  link.download = "spectra.csv";
  link.click();
  URL.revokeObjectURL(link.href);
});

if (wavelengths) {
  $("light").append(...data.light.map(colour => {
    const part = document.createElement("i");
    part.style.background = colour;
    return part;
  }));
}
for (const [row, column] of data.points) add(row, column);
announce("");
setBand(state.band, false);
