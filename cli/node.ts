#!/usr/bin/env node
/**
 * The program under Node.
 *
 * @module
 */

import process from "node:process";
import { runProcess } from "./process.ts";

await runProcess(process.exit);
