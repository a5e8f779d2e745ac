// The report of evaluations and runs: curves whose values are read where the pointer is.

data.charts.forEach((each, number) => {
  const svg = document.getElementById(`chart-${number}`);
  const lines = each.lines.map((line, k) => ({...line, colour: COLOURS[k % COLOURS.length], dashed: k >= COLOURS.length}));
  const options = {label: each.label, logarithmic: each.logarithmic, width: 480, height: 270};
  const draw = mark => chart(svg, lines, {...options, mark});
  draw(null);

  const key = document.getElementById(`key-${number}`);
  for (const line of lines.length > 1 ? lines : []) {
    const entry = document.createElement("span");
    const sample = made(entry, "svg", {class: "chart", width: 26, height: 8, style: "display:inline;width:26px"});
    const style = `stroke:${line.colour}`;
    made(sample, "polyline", {points: "0,4 26,4", style, class: line.dashed ? "dashed" : "solid"});
    entry.append(line.name);
    key.append(entry);
  }

  const readout = document.getElementById(`readout-${number}`);
  svg.addEventListener("pointermove", event => {
    const wanted = svg.place(event);
    const nearest = line => line.x.reduce((best, x, k) => (Math.abs(x - wanted) < Math.abs(line.x[best] - wanted) ? k : best), 0);
    const values = lines.map(line => {
      const value = line.y[nearest(line)];
      return (lines.length > 1 ? `${line.name} ` : "") + (value === null ? "–" : Number(value.toPrecision(5)));
    });
    const x = lines[0].x[nearest(lines[0])];
    readout.textContent = `${each.label} ${x}: ${values.join(", ")}`;
    draw(x);
  });
  svg.addEventListener("pointerleave", () => {
    readout.textContent = "";
    draw(null);
  });
});
