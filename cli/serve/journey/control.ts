/**
 * Connects the journeys of a server to its control channel.
 *
 * @module
 */

import { StoreError } from "../../../src/core/errors.ts";
import { answerJourney, type JourneyState } from "../../cluster/journey.ts";
import { readNode } from "../../settings/node.ts";
import type { Bus } from "../bus.ts";
import { nextStep } from "../node/mark.ts";
import type { Page } from "../node/page.ts";
import type { Surroundings } from "../parts.ts";
import type { Storage } from "../storage/types.ts";
import { callOff } from "./call_off.ts";
import { grow } from "./grow.ts";
import { Journeys } from "./journeys.ts";
import { resume } from "./start/resume.ts";
import { shrink } from "./shrink.ts";
import type { World } from "./types.ts";

/** How long a journey may take to pause when the server stops, milliseconds. */
const PAUSING_MS = 10_000;

/** The control channel of a server. */
export class Control {
  readonly #bus: Bus;
  readonly #settingsIn: World["settingsIn"];
  #journeys: Journeys | null = null;

  /** `page` knows why nothing is served, until something is. */
  constructor(bus: Bus, db: string, settingsIn: World["settingsIn"], page: Pick<Page, "why">) {
    this.#bus = bus;
    this.#settingsIn = settingsIn;
    const name = async () => (await readNode(db))?.name ?? null;
    answerJourney(bus.connection, name, async (request) => {
      if (this.#journeys !== null) return await this.#journeys.handle(request);
      const node = String(await name());
      throw new StoreError("refused", `Node ${node} serves nothing now: ${page.why}`, {
        hint: nextStep(page.why, node),
      });
    });
  }

  /** The state of the journeys; null while nothing is served. */
  status(): JourneyState | null {
    return this.#journeys?.status() ?? null;
  }

  /** Lets what is served now travel, until `around` ends. */
  serve(around: Surroundings, storage: Storage): void {
    const world: World = { around, bus: this.#bus, storage, settingsIn: this.#settingsIn };
    const journeys = this.#journeys = new Journeys(world, { grow, shrink, callOff });
    around.undo.add("journey", () => {
      this.#journeys = null;
      return journeys.stop();
    }, PAUSING_MS);
    resume(world, journeys).catch((error) => {
      if (!around.signal.aborted) around.log("warn", "journey.resume", { reason: error });
    });
  }
}
