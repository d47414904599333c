/**
 * Streams of what a generator yields, which something else may end.
 *
 * @module
 */

/**
 * Makes a stream that reads as it is read: nothing is opened before the first read, nothing ahead of one.
 *
 * @param open Begins to yield
 * @param watch Called at the first read with what ends the stream from outside, and waits until the
 * generator has let go; returns a function that forgets it
 */
export function streamOf<T>(
  open: () => AsyncGenerator<T, void>,
  watch: (end: (reason: unknown) => Promise<unknown>) => () => void,
): ReadableStream<T> {
  let values: AsyncGenerator<T, void> | null = null;
  let forget = () => {};
  let ended = false;
  const end = () => {
    ended = true;
    forget();
  };
  return new ReadableStream<T>({
    async pull(controller) {
      try {
        if (values === null) {
          forget = watch(async (reason) => {
            if (ended) return;
            end();
            controller.error(reason);
            await values?.return();
          });
          if (ended) return forget();
          values = open();
        }
        const next = await values.next();
        if (ended) return;
        if (!next.done) return controller.enqueue(next.value);
        end();
        controller.close();
      } catch (error) {
        if (ended) return;
        end();
        throw error;
      }
    },
    async cancel() {
      end();
      await values?.return();
    },
  }, { highWaterMark: 0 });
}
