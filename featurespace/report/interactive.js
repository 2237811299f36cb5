// Brings the figures to life: without it, or where it fails, the page shows the printed ones.
(() => {
  "use strict";
  const root = document.documentElement;
  const page = JSON.parse(document.getElementById("chart-data").textContent);

  const unpack = (text, Kind) => {
    const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
    return new Kind(bytes.buffer);
  };
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  function embedding(about, source) {
    const codes = Object.fromEntries(
      Object.entries(about.columns).map(([name, each]) => [name, unpack(each.codes, Uint16Array)]));
    const near = about.models.map((model) => ({
      ...model, rows: unpack(model.indices, Uint16Array), far: unpack(model.distances, Float32Array)}));
    const chosen = document.getElementById("colour-by");
    const legend = document.getElementById("legend");
    const panel = document.getElementById("neighbours");
    const status = document.getElementById("selected");
    const find = document.getElementById("find-image");
    const data = source.data;
    const count = data.sample.length;
    const select = (rows) => { source.selected.indices = rows; };

    const picture = (row, words) => make("figure", {className: "thumb"},
      make("img", {src: data.thumbnail[row] || "data:,", alt: data.sample[row], width: 64, height: 64}),
      make("figcaption", {}, ...words.map((each) => make("span", {textContent: each}))));

    function colour() {
      const column = about.columns[chosen.value];
      const code = codes[chosen.value];
      data.colour = Array.from(code, (each) => column.colours[each]);
      source.change.emit();
      const shapes = column.names.map((_, value) => {
        const row = chosen.value === "data" || chosen.value === "label" ? code.indexOf(value) : -1;
        return row < 0 ? "●" : about.shapes[about.domains.indexOf(data.data[row]) % about.shapes.length];
      });
      const entries = column.names.slice(0, column.shown).map((name, value) => {
        const mark = make("span", {textContent: shapes[value], className: "mark"});
        mark.style.color = column.colours[value];
        mark.setAttribute("aria-hidden", "true");
        const button = make("button", {type: "button"}, mark, " ", make("bdi", {textContent: name}));
        button.addEventListener("click", () => select([...code.keys()].filter((row) => code[row] === value)));
        return make("li", {}, button);
      });
      const more = column.names.length - entries.length;
      const notes = [more > 0 ? `and ${more} more` : "", column.repeats ? "Colours repeat: choose a value to see its images." : ""];
      legend.replaceChildren(...entries, ...notes.filter(Boolean).map((each) => make("li", {textContent: each})));
    }

    function tell() {
      const rows = source.selected.indices;
      const plain = rows.length === 1 ? rows[0] : -1;
      status.textContent = rows.length === 0 ? "No image is selected." : plain < 0 ?
        `${rows.length} of ${count} images are selected, in every picture.` : `Selected: ${data.sample[plain]}`;
      if (plain < 0) {
        panel.replaceChildren();
        return;
      }
      const mine = picture(plain, [data.data[plain], `label ${data.label[plain]}`, `group ${data.group[plain]}`]);
      const lists = near.map((model) => {
        const pictures = Array.from({length: model.k}, (_, rank) => {
          const place = plain * model.k + rank;
          const row = model.rows[place];
          return picture(row, [`${rank + 1}: ${model.far[place].toPrecision(3)}`, data.label[row], data.data[row]]);
        });
        return make("section", {}, make("h4", {textContent: model.name}), make("div", {className: "strip"}, ...pictures));
      });
      panel.replaceChildren(make("div", {className: "strip"}, mine), ...lists);
    }

    const step = (by) => {
      const last = source.selected.indices.length === 1 ? source.selected.indices[0] : by > 0 ? -1 : 0;
      select([(last + by + count) % count]);
    };
    document.getElementById("previous-image").addEventListener("click", () => step(-1));
    document.getElementById("next-image").addEventListener("click", () => step(1));
    document.getElementById("clear-images").addEventListener("click", () => select([]));
    find.addEventListener("change", () => {
      const text = find.value.trim().toLowerCase();
      if (text) select([...data.sample.keys()].filter((row) => data.sample[row].toLowerCase().includes(text)));
    });
    chosen.addEventListener("change", colour);
    source.selected.properties.indices.change.connect(tell);
    colour();
    tell();
  }

  async function start() {
    const views = await Bokeh.embed.embed_items(page.documents, page.items);
    if (page.embedding) {
      const found = Bokeh.documents.map((each) => each.get_model_by_name(page.embedding.source)).find(Boolean);
      embedding(page.embedding, found);
    }
    root.dataset.charts = "ready";
    return views;
  }

  root.classList.add("live");  // before: a figure in a hidden element has no size
  start().catch((error) => {
    root.classList.remove("live");
    root.dataset.charts = "failed";
    console.error(error);
  });
})();
