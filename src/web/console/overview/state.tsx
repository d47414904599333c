/**
 * What is wrong with the server, or that nothing is.
 *
 * @module
 */

import type { JSX } from "preact";
import type { ServerStatus } from "../../../core/operations.ts";
import type { Graded } from "../data/grade.ts";
import { counted } from "../../shared/format.ts";
import { Badge, When } from "../ui/pieces.tsx";

const LOOKS = { well: "good", degraded: "warn", down: "bad" } as const;

/** The grade, its reasons, and the checks. */
export function State(
  { graded: { grade, meaning, problems }, status, now }: {
    graded: Graded;
    status: ServerStatus | null;
    now: number;
  },
): JSX.Element {
  const title = grade === "well"
    ? "All is well"
    : `${grade === "down" ? "Down" : "Degraded"}: ${counted(problems.length, "problem")}`;
  return (
    <section class={`state ${LOOKS[grade]}`} aria-labelledby="state">
      <div role="status">
        <h2 id="state">
          <span class="dot" aria-hidden="true" />
          {title}
        </h2>
        {grade !== "well" && <p class="meaning">{meaning}</p>}
        {problems.length > 0 && (
          <ul>
            {problems.map(({ text, help }) => (
              <li key={text}>
                {text}
                {help !== null && <span class="problem-help">{help}</span>}
              </li>
            ))}
          </ul>
        )}
      </div>
      {status && <Server status={status} now={now} />}
    </section>
  );
}

function Server({ status, now }: { status: ServerStatus; now: number }): JSX.Element {
  const { busAuth, checks, version, startedAt } = status;
  return (
    <>
      {busAuth !== "enforce" && (
        <p class="notice warn">
          {busAuth === "off"
            ? "Authentication is off: anyone who can reach this server can do anything."
            : "Signatures are checked but not enforced: requests that would be refused are only logged."}
          {" "}
          Start it with <code>--bus-auth enforce</code>.
        </p>
      )}
      <p class="muted small">
        membershipd {version}, started <When time={startedAt} now={now} />, signatures: {busAuth}
      </p>
      <details>
        <summary>Health checks</summary>
        <ul class="checks">
          {checks.map((it) => (
            <li key={it.name}>
              {!it.ok
                ? <Badge look="bad">failed</Badge>
                : it.degraded
                ? <Badge look="warn">degraded</Badge>
                : <Badge look="good">ok</Badge>} <b>{it.name}</b>{" "}
              <span class="muted">{it.detail}</span>
            </li>
          ))}
        </ul>
      </details>
    </>
  );
}
