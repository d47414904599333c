/**
 * What a client has seen of a control plane, and which node it believes.
 *
 * @module
 */

/** What a client has seen. */
export interface Seen {
  /** The highest generation. */
  readonly generation: number;
  /** The revision of the newest change made by the client. */
  readonly revision: string | null;
}

/** Returns the later of two revisions; invalid text is ignored. */
export function laterOf(known: string | null, said: string | null): string | null {
  const [generation, number] = numbersOf(said ?? "");
  const [knownGeneration, knownNumber] = numbersOf(known ?? "0.-1");
  const isLater = generation > knownGeneration ||
    (generation === knownGeneration && number > knownNumber);
  return number >= 0 && isLater ? `${generation}.${number}` : known;
}

function numbersOf(revision: string): [number, number] {
  return revision.split(".").map(Number) as [number, number];
}

/** How long a revision that a given node does not have is demanded of it, milliseconds. */
const DOUBTED_MS = 30_000;

/** Keeps what several nodes said. What a learned node says must not shut the client out of the given ones. */
export class SeenOfNodes {
  /** What the nodes whose URLs the caller gave have said. */
  #given: Seen;
  /** The newest revision that any node has said. */
  #newest: string | null;
  #doubtedAt = Infinity;

  constructor(given: Seen) {
    this.#given = given;
    this.#newest = given.revision;
  }

  /** The highest generation that a given node has said. */
  get generation(): number {
    return this.#given.generation;
  }

  /** The newest revision that any node has said. */
  get revision(): string | null {
    return this.#newest;
  }

  /** Notes what a node has said. */
  note(isGiven: boolean, { generation, revision }: Seen): void {
    const newest = laterOf(this.#newest, revision);
    if (newest !== this.#newest) this.#doubtedAt = Infinity;
    this.#newest = newest;
    if (isGiven) this.#given = { generation, revision: laterOf(this.#given.revision, revision) };
  }

  /** Notes that a given node does not have the newest revision: if only a learned one said it, it is forgotten. */
  doubt(now: number): void {
    if (this.#newest === this.#given.revision) return;
    this.#doubtedAt = Math.min(this.#doubtedAt, now);
    if (now - this.#doubtedAt >= DOUBTED_MS) this.#newest = this.#given.revision;
  }
}
