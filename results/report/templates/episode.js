"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const episodes = [...document.querySelectorAll(".episode")];
const frames = Number(getComputedStyle(document.documentElement).getPropertyValue("--n"));
const tints = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"]; // told apart by the colour-blind, too
let current = 0;

function element(tag, attributes = {}, ...children) {
  const svg = ["svg", "line"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
const frame = (video, number) => element("i", { class: `f v${video}`, style: `--f:${number}` });
const percent = (share) => (share > 0 && share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(share < 0.0995 && share > 0 ? 1 : 0)} %`);
const all = (video) => element("div", { class: "strip" }, ...Array.from({ length: frames }, (_, number) => frame(video, number)));

// A query's frames over those of one support video, with lines between what was matched.
function pairing(query, support, name, links) {
  const lines = element("svg", { viewBox: `0 0 ${frames} 1`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const { link: [from, , to], tint, rank, size } of links) {
    const aside = 0.5 + 0.13 * (rank - (tints.length - 1) / 2); // links of the same frames run side by side
    from.forEach((start, place) => lines.append(element("line", {
      x1: start + aside, y1: 0, x2: to[place] + aside, y2: 1, stroke: tint, "stroke-width": 1.5 + 4 * size,
    })));
  }
  return element("div", { class: "pairing" }, element("p", {}, "query"), all(query), lines, all(support), element("p", {}, name));
}

function line({ link: [from, video, to, weight], tint, size }, query, support) {
  const thumbs = (of, numbers) => element("span", {}, ...numbers.map((number) => frame(of, number)));
  const words = `frames ${from.map((f) => f + 1).join(" + ")} → ${to.map((f) => f + 1).join(" + ")}${support.length > 1 ? `, video ${video + 1}` : ""}`;
  return element("li", { style: `--tint:${tint}; --w:${size}`, tabindex: 0 }, thumbs(query, from),
    element("span", { class: "weight" }, percent(weight)), thumbs(support[video], to), element("small", {}, words));
}

// What one network matched between a query and a class: drawn, listed, and marked in the support above.
function show(button) {
  const article = button.closest(".query"), section = article.closest(".episode");
  const episode = data[section.dataset.episode], q = Number(article.dataset.query);
  const network = Number(button.dataset.network), c = Number(button.dataset.class);
  for (const bar of article.querySelectorAll(".bar")) {
    bar.classList.toggle("chosen", bar === button);
    bar.setAttribute("aria-pressed", bar === button);
  }
  unmark(section);
  const name = document.querySelectorAll(".networks tbody th")[network].textContent;
  const panel = article.querySelector(".matched"), of = element("strong", {}, episode.classes[c]);
  if (!episode.answers[network]) {
    panel.replaceChildren(element("p", {}, `${name}: this head has no attention.`));
    return;
  }
  panel.replaceChildren(element("p", {}, `What ${name} matched with `, of, ":"));
  for (const { title, caption, full, links: found } of episode.answers[network]) {
    const links = found[q][c].map((link, rank) => ({ link, rank, tint: tints[rank % tints.length], size: Math.min(1, link[3] / full) }));
    const videos = [...new Set(links.map(({ link }) => link[1]))].sort((a, b) => a - b);
    const support = episode.support[c], several = support.length > 1;
    panel.append(element("h4", {}, title), element("p", { class: "caption" }, caption),
      element("div", { class: "group" },
        ...videos.map((video) => pairing(episode.query[q], support[video], several ? `${episode.classes[c]}, video ${video + 1}` : episode.classes[c], links.filter(({ link }) => link[1] === video))),
        element("ol", { class: "links" }, ...links.map((link) => line(link, episode.query[q], support)))));
    const listed = [...panel.lastChild.querySelectorAll("li")];
    links.forEach(({ link, tint }, rank) => {
      for (const kind of ["pointerenter", "focus", "click"]) listed[rank].addEventListener(kind, () => mark(article, c, link, tint));
    });
  }
  const strongest = episode.answers[network][0].links[q][c][0];
  if (strongest) mark(article, c, strongest, tints[0]);
}

function unmark(section) {
  for (const marked of section.querySelectorAll(".f.hit")) marked.classList.remove("hit");
}

// One link's frames, marked in the query and in the support above.
function mark(article, c, [from, video, to], tint) {
  const section = article.closest(".episode");
  unmark(section);
  const above = section.querySelector(`.class[data-class="${c}"]`).querySelectorAll(".strip")[video];
  const own = article.querySelector("header .strip");
  for (const marked of [...to.map((f) => above.children[f]), ...from.map((f) => own.children[f])]) {
    marked.classList.add("hit");
    marked.style.setProperty("--tint", tint);
  }
}

function go(to) {
  current = Math.max(0, Math.min(episodes.length - 1, to));
  episodes.forEach((episode, place) => episode.classList.toggle("away", place !== current));
  byId("episode").value = String(current);
  byId("previous").disabled = current === 0;
  byId("next").disabled = current === episodes.length - 1;
  for (const article of [...episodes[current].querySelectorAll(".query")].reverse())
    if (!article.querySelector(".chosen")) show(article.querySelector('.bar[data-predicted][data-network="0"]'));
}

function step(to) {
  go(to);
  history.replaceState(null, "", `#${episodes[current].id}`);
  if (episodes[current].getBoundingClientRect().top < 0) episodes[current].scrollIntoView();
}

byId("previous").addEventListener("click", () => step(current - 1));
byId("next").addEventListener("click", () => step(current + 1));
byId("episode").addEventListener("change", (event) => step(Number(event.target.value)));
document.addEventListener("keydown", (event) => {
  if (event.target.matches("select") || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "ArrowLeft") step(current - 1);
  if (event.key === "ArrowRight") step(current + 1);
});
for (const kind of ["click", "focusin", "pointerover"])
  document.addEventListener(kind, (event) => {
    const bar = event.target.closest?.(".bar");
    if (bar && (kind !== "pointerover" || event.pointerType === "mouse") && !bar.classList.contains("chosen")) show(bar);
  });
window.addEventListener("beforeprint", () => { for (const words of document.querySelectorAll(".words")) words.open = true; });
go(Math.max(0, episodes.findIndex((episode) => `#${episode.id}` === location.hash)));
