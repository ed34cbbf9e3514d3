// The page: two panes, each a client of its own, and the command for a third.

import { Pane } from "./pane.js";
import { frameCommand, sendCommand } from "./services.js";

const byId = (id) => document.getElementById(id);

let about = { program: "demo", tcp_port: 8081 };

// The commands go to the room that is looked at on the left.
function showCommands(room) {
  byId("services-room").textContent = room;
  byId("command").textContent = sendCommand(about, room);
  byId("frames").textContent = frameCommand(about, room);
}

function showServer(message) {
  about = message;
  const loops = about.loops === 1 ? "1 loop" : `${about.loops} loops`;
  byId("server").textContent = `libpeal ${about.version} · ${loops}`;
  showCommands(left.room);
}

function flash(button, text) {
  const before = button.dataset.label ?? button.textContent;
  button.dataset.label = before;
  button.textContent = text;
  setTimeout(() => (button.textContent = before), 1500);
}

async function copy(button) {
  const source = byId(button.dataset.copies);
  try {
    await navigator.clipboard.writeText(source.textContent);
    flash(button, "Copied");
  } catch {
    // No permission: leave it selected for the keyboard.
    getSelection().selectAllChildren(source);
    flash(button, "Selected");
  }
}

const left = new Pane({
  name: "Ada",
  room: "lobby",
  label: "First client",
});
const right = new Pane({
  name: "Grace",
  room: "lobby",
  label: "Second client",
});

left.onAbout = showServer;
left.onRoom = showCommands;
showCommands(left.room);
byId("panes").append(left.element, right.element);
for (const button of document.querySelectorAll("[data-copies]")) {
  button.addEventListener("click", () => copy(button));
}
