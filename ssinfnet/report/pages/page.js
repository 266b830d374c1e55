"use strict";
// Sorts, filters and copies the page's tables, and switches between repeats of one of them.

const few = 8; // rows above which a table gets a field to filter by

function cells(row) {
  return Array.from(row.cells, (cell) => cell.innerText.trim());
}

function button(text, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", act);
  return made;
}

function number(text) {
  const found = text.replace(/,/g, "").replace(/\u2212/g, "-").match(/^[<>]?\s*(-?\d+(\.\d+)?(e-?\d+)?)/i);
  return found ? parseFloat(found[1]) : NaN;
}

function sortBy(table, column, head) {
  const body = table.tBodies[0];
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const keyed = Array.from(body.rows, (row) => {
    const text = cells(row)[column] || "";
    return [row, text, number(text)];
  });
  const numbers = keyed.filter(([, text]) => text !== "" && text !== "\u2013");
  const numeric = numbers.length > 0 && numbers.every(([, , value]) => !isNaN(value));
  keyed.sort(([, a, x], [, b, y]) => {
    if (!numeric) return a.localeCompare(b, "en", { numeric: true });
    return (isNaN(x) ? Infinity : x) - (isNaN(y) ? Infinity : y);
  });
  if (down) keyed.reverse();
  body.append(...keyed.map(([row]) => row));
}

function copyTable(table, told) {
  const rows = Array.from(table.rows).filter((row) => !row.hidden);
  const text = rows.map((row) => cells(row).map((cell) => cell.replace(/\s+/g, " ")).join("\t")).join("\n");
  const area = document.createElement("textarea"); // works in a file opened from disk, too
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  told.textContent = copied ? "copied" : "not copied";
  setTimeout(() => { told.textContent = "copy"; }, 1500);
}

function equip(wide) {
  const table = wide.querySelector("table");
  if (!table || !table.tHead || !table.tBodies.length) return;
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const text = head.textContent;
    head.textContent = "";
    head.append(button(text || "\u00a0", () => sortBy(table, column, head)));
  });
  const bar = document.createElement("div");
  bar.className = "bar";
  if (table.tBodies[0].rows.length > few) {
    const field = document.createElement("input");
    field.type = "search";
    field.placeholder = "filter rows";
    field.setAttribute("aria-label", "filter rows");
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/);
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
    bar.append(field);
  }
  const copy = button("copy", () => copyTable(table, copy));
  bar.append(copy);
  wide.before(bar);
}

function offerRepeats(group) {
  const repeats = Array.from(group.querySelectorAll(":scope > [data-repeat]"));
  const label = document.createElement("label");
  const choice = document.createElement("select");
  label.append("Shown: ", choice);
  label.className = "bar";
  for (const repeat of repeats) choice.append(new Option(repeat.dataset.repeat, repeat.id));
  const show = (id) => {
    choice.value = id;
    for (const repeat of repeats) repeat.hidden = repeat.id !== id;
  };
  choice.addEventListener("change", () => show(choice.value));
  group.prepend(label);
  const ofAddress = () => {
    const asked = repeats.find((repeat) => "#" + repeat.id === location.hash);
    if (asked) { show(asked.id); asked.scrollIntoView(); }
  };
  show(repeats[0].id);
  addEventListener("hashchange", ofAddress);
  ofAddress();
}

document.querySelectorAll(".wide").forEach(equip);
document.querySelectorAll(".repeats").forEach(offerRepeats);
document.querySelectorAll("[data-copies]").forEach((place) => {
  const source = document.getElementById(place.dataset.copies);
  const copy = button("copy the text", () => {
    const area = document.createElement("textarea");
    area.value = source.innerText;
    document.body.append(area);
    area.select();
    copy.textContent = document.execCommand("copy") ? "copied" : "not copied";
    area.remove();
  });
  place.append(copy);
});
