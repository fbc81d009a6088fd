"use strict";
document.documentElement.classList.add("live"); // without this script everything stands side by side

for (const figure of document.querySelectorAll(".swipe")) {
  const stage = figure.querySelector(".stage");
  const divider = figure.querySelector("[role=slider]");
  const blink = figure.querySelector(".blink");
  let at = 50;
  let timer = 0;
  const show = (percent) => stage.style.setProperty("--at", percent + "%");
  const rest = () => {
    clearInterval(timer);
    timer = 0;
    stage.classList.remove("blinking");
    blink.setAttribute("aria-pressed", "false");
  };
  const move = (percent) => {
    rest();
    at = Math.min(100, Math.max(0, percent));
    show(at);
    const shown = Math.round(at);
    divider.setAttribute("aria-valuenow", shown);
    divider.setAttribute("aria-valuetext", `${shown} % ${divider.dataset.before}, ${100 - shown} % ${divider.dataset.after}`);
  };
  const follow = (event) => {
    const box = stage.getBoundingClientRect();
    move((100 * (event.clientX - box.left)) / box.width);
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault(); // no dragging of the picture itself
    divider.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    follow(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) follow(event);
  });
  const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -100, End: 100 };
  divider.addEventListener("keydown", (event) => {
    if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    move(at + steps[event.key] * (event.shiftKey ? 10 : 1));
  });
  blink.addEventListener("click", () => {
    if (timer) return move(at);
    let side = 0;
    const turn = () => show((side = 100 - side));
    stage.classList.add("blinking");
    blink.setAttribute("aria-pressed", "true");
    timer = setInterval(turn, 700); // well below three flashes a second
    turn();
  });
}

for (const group of document.querySelectorAll(".tabs")) {
  const tabs = [...group.querySelectorAll("[role=tab]")];
  const choose = (chosen) => {
    for (const tab of tabs) {
      const on = tab === chosen;
      tab.setAttribute("aria-selected", on);
      tab.tabIndex = on ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).classList.toggle("on", on);
    }
  };
  const steps = { ArrowLeft: -1, ArrowRight: 1 };
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const ends = { Home: 0, End: tabs.length - 1 };
      const next = event.key in ends ? ends[event.key] : i + steps[event.key];
      if (Number.isNaN(next)) return;
      event.preventDefault();
      const target = tabs[(next + tabs.length) % tabs.length];
      choose(target);
      target.focus();
    });
  });
}

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
