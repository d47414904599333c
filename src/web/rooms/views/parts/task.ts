/**
 * Something that is done when a button is pressed, and why it failed in this page's words.
 *
 * @module
 */

import { type Task, useTaskOf } from "../../../shared/ui/task.ts";
import { said } from "../../model/words.ts";

/** Keeps whether it is being done, and why it failed. */
export function useTask(): Task<string> {
  return useTaskOf(said);
}
