// The report of evaluations and runs: curves whose values are read where the pointer is.

const data = JSON.parse(document.getElementById("data").textContent);

data.charts.forEach((each, number) => {
  const svg = document.getElementById(`chart-${number}`);
  const lines = each.lines.map((line, k) => {
    const dash = k >= COLOURS.length ? "7 4" : "";
    return {...line, colour: COLOURS[k % COLOURS.length], dash, width: dash ? 1.8 : 2.2};
  });
  const options = {label: each.label, logarithmic: each.logarithmic, width: 480, height: 270};
  const draw = mark => chart(svg, lines, {...options, mark});
  draw(null);

  const key = document.getElementById(`key-${number}`);
  for (const line of lines.length > 1 ? lines : []) {
    const entry = document.createElement("span");
    lineSample(entry, line);
    entry.append(line.name);
    key.append(entry);
  }

  const readout = document.getElementById(`readout-${number}`);
  svg.addEventListener("pointermove", event => {
    const place = svg.place(event);
    const values = lines.map(line => {
      const value = line.y[nearest(line.x, place)];
      return (lines.length > 1 ? `${line.name} ` : "") + (value === null ? "–" : Number(value.toPrecision(5)));
    });
    const x = lines[0].x[nearest(lines[0].x, place)];
    readout.textContent = `${each.label} ${x}: ${values.join(", ")}`;
    draw(x);
  });
  svg.addEventListener("pointerleave", () => {
    readout.textContent = "";
    draw(null);
  });
});
