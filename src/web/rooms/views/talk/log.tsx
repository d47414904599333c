/// <reference lib="dom" />
/**
 * What was said. All lines are in the document, so that they can be searched and read by a screen reader;
 * the browser lays out only the blocks that are in sight (`content-visibility` in the style sheet).
 *
 * @module
 */

import { Component, type JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { visible } from "../../../shared/format.ts";
import type { Block } from "../../model/lines.ts";
import type { Talk } from "../../model/talk.ts";
import { LineView } from "./line.tsx";

/** Nearer to the end than this, it follows what comes. */
const NEAR_PX = 80;

/** The log. */
export function Log({ talk }: { talk: Talk }): JSX.Element {
  const { lines } = talk;
  const log = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const follows = useRef(true);
  const [seen, setSeen] = useState(lines.count);
  const count = lines.count;
  const toEnd = (): void => {
    follows.current = true;
    log.current!.scrollTop = log.current!.scrollHeight;
    setSeen(count);
  };
  useLayoutEffect(() => {
    if (follows.current) toEnd();
  }, [count]);
  useEffect(() => {
    // A block that comes into sight may be higher than it was taken to be; so may the window.
    const observer = new ResizeObserver(() => {
      if (follows.current && log.current) log.current.scrollTop = log.current.scrollHeight;
    });
    observer.observe(content.current!);
    observer.observe(log.current!);
    return () => observer.disconnect();
  }, []);
  return (
    <div class="log-frame">
      <div
        ref={log}
        class="log"
        role="log"
        aria-label={`Messages in ${visible(talk.id)}`}
        tabIndex={0}
        onScroll={({ currentTarget: it }) => {
          follows.current = it.scrollHeight - it.scrollTop - it.clientHeight < NEAR_PX;
          if (follows.current) setSeen(count);
        }}
      >
        <div ref={content}>
          <p class="log-begin muted small">
            {lines.isCut
              ? "Older messages are no longer shown."
              : "Messages appear here from now on. There are none from before."}
          </p>
          {lines.blocks.map((it) => <BlockView key={it.key} block={it} talk={talk} />)}
        </div>
      </div>
      {!follows.current && count > seen && (
        <button type="button" class="button to-end" onClick={toEnd}>
          {count - seen === 1 ? "1 new line" : `${count - seen} new lines`}
          <span aria-hidden="true">↓</span>
        </button>
      )}
    </div>
  );
}

/** Drawn again only when the block has changed. */
class BlockView extends Component<{ block: Block; talk: Talk }> {
  override shouldComponentUpdate(next: { block: Block }): boolean {
    return next.block !== this.props.block;
  }

  override render(): JSX.Element {
    const { block: { lines, before }, talk } = this.props;
    return (
      <div class="block">
        {lines.map((it, i) => (
          <LineView key={it.id} line={it} before={lines[i - 1] ?? before} talk={talk} />
        ))}
      </div>
    );
  }
}
