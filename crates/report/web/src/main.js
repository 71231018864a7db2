// The page of a report.

import { fillAbout } from "./about.js";
import { makeControls } from "./controls.js";
import { makeDetails } from "./details.js";
import { makeDifferenceTable } from "./difference_table.js";
import { byId } from "./dom.js";
import { makeEvaluation } from "./evaluation.js";
import { handleKeys } from "./keyboard.js";
import { makeLegend } from "./legend.js";
import { Panels } from "./panels.js";
import { makeProbe } from "./probe.js";
import { takeMetadata, takePrompt } from "./prompt.js";
import { makeSearchBox } from "./search_box.js";
import { Session } from "./session.js";
import { createStore, initialState } from "./store.js";

async function open() {
  const started = performance.now();
  const metadata = takeMetadata();
  const prompt = await takePrompt(metadata, 0);
  const decoded = performance.now();
  const store = createStore(initialState(prompt.sets.length));
  const session = new Session(metadata, store, prompt);
  fillAbout(metadata);
  byId("opening").hidden = true;
  byId("page").hidden = false;
  makeControls(session);
  makeLegend(session);
  makeEvaluation(session);
  makeDetails(session);
  makeDifferenceTable(session);
  const panels = new Panels(session);
  panels.arrange();
  makeSearchBox(session, panels);
  handleKeys(session, panels);
  requestAnimationFrame(() =>
    requestAnimationFrame(() => {
      const ready = performance.now();
      makeProbe(session, panels, { script: started, decoded, ready });
      document.documentElement.dataset.ready = "true";
    }),
  );
}

open().catch((error) => {
  byId("opening").hidden = false;
  byId("opening").textContent = `This report cannot be shown: ${error instanceof Error ? error.message : error}`;
  throw error;
});
