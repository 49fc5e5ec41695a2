// What the tests ask of a page. Each function gives what is wrong, in words; nothing, if nothing is.
const visible = (element) => element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length > 0;
const named = (element) => `<${element.localName}> ${(element.textContent || element.name || "").trim().slice(0, 40)}`;
const channels = (color) => {
  const numbers = color.match(/[\d.]+/g).map(Number);
  return { rgb: numbers.slice(0, 3), alpha: numbers.length > 3 ? numbers[3] : 1 };
};
const luminance = (rgb) => {
  const [r, g, b] = rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ratio = (one, other) => {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const { rgb, alpha } = channels(getComputedStyle(at).backgroundColor);
    if (alpha === 1) return rgb;
  }
  return [255, 255, 255];
};
// Text that can hardly be read (WCAG 2.2, 1.4.3).
function faint() {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const wrong = [];
  let seen = 0;
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !visible(element)) continue;
    seen += 1;
    const style = getComputedStyle(element);
    const color = channels(element instanceof SVGElement ? style.fill : style.color);
    const contrast = ratio(color.rgb, ground(element));
    if (contrast < 4.5 || color.alpha < 1) wrong.push(`${named(element)}: ${contrast.toFixed(2)}`);
  }
  return seen ? wrong : ["no text at all"];
}
// What sticks out of the window at the side.
function wide() {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const out = [...document.querySelectorAll("body *")].filter((e) => visible(e) && e.getBoundingClientRect().right > width);
  return out.length ? out.map((e) => `${named(e)}: ${e.getBoundingClientRect().right}`) : ["something"];
}
// Cells in which words stand one letter below the other, or over the title before them.
function cramped() {
  const text = document.createRange();
  const box = (cell) => (text.selectNodeContents(cell), text.getBoundingClientRect());
  const narrow = (cell) => box(cell).width < 60 && box(cell).height > 60;
  const covered = (cell) => {
    const title = getComputedStyle(cell, "::before");
    const end = cell.getBoundingClientRect().left + parseFloat(title.left) + parseFloat(title.width);
    return title.content !== "none" && box(cell).left < end;
  };
  return [...document.querySelectorAll("td")].filter((cell) => visible(cell) && (narrow(cell) || covered(cell))).map(named);
}
// Fields and buttons that a screen reader cannot name.
function nameless() {
  const all = [...document.querySelectorAll("a, button, input:not([type=hidden]), select, summary")].filter(visible);
  const name = (e) => e.getAttribute("aria-label") || e.labels?.[0]?.innerText.trim() || (e.localName !== "select" && e.textContent.trim());
  return all.filter((e) => !name(e)).map(named);
}
// Everything that the Tab key must reach.
function stops() {
  const all = document.querySelectorAll("a[href], button, input:not([type=hidden]), select, summary");
  return [...all].filter((e) => visible(e) && !e.disabled).map((e) => (e.tabIndex < 0 ? `${named(e)}: left out` : named(e)));
}
// What has the focus, and whether one sees that.
function focus() {
  const element = document.activeElement;
  const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  return {
    name: element === document.body ? "" : named(element),
    outlined: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 && ratio(channels(outlineColor).rgb, ground(element.parentElement ?? element)) >= 3,
    onScreen: box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight,
  };
}
