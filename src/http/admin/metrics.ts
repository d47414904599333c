/**
 * What is counted, in the Prometheus text format.
 *
 * @module
 */

import process from "node:process";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { exposeLoopDelay } from "../pipeline/loop_delay.ts";
import type { Gate } from "../pipeline/shed.ts";

/** The counts of one control plane. */
export type Metrics = ReturnType<typeof metricsOf>;

/** The methods that are counted by name: a caller may make up as many as it likes. */
const METHODS = new Set(["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"]);

/** Makes counts that start at zero. */
export function metricsOf() {
  const registry = new Registry();
  const registers = [registry];
  const requests = new Counter({
    name: "unibus_http_requests_total",
    help: "Requests answered",
    labelNames: ["method", "route", "status"],
    registers,
  });
  const seconds = new Histogram({
    name: "unibus_http_request_seconds",
    help: "Time until the response head was ready",
    labelNames: ["route"],
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5],
    registers,
  });
  const refusals = new Counter({
    name: "unibus_http_refusals_total",
    help:
      "Requests refused for their signature or permissions, by the part at fault; accepted under soft",
    labelNames: ["reason"],
    registers,
  });
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  };
  gauge("process_resident_memory_bytes", "Resident memory", () => process.memoryUsage().rss);
  gauge("process_uptime_seconds", "Time since the start", () => process.uptime());
  new Counter({
    name: "process_cpu_seconds_total",
    help: "Processor time used, by user and system",
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  gauge("nodejs_heap_size_used_bytes", "Heap in use", () => process.memoryUsage().heapUsed);
  gauge("nodejs_heap_size_total_bytes", "Heap taken", () => process.memoryUsage().heapTotal);
  gauge(
    "nodejs_external_memory_bytes",
    "Memory of buffers outside the heap",
    () => process.memoryUsage().external,
  );
  exposeLoopDelay(registry);
  return {
    /** Counts an answered request; `route` is its pattern, never the path itself. */
    request: (method: string, route: string, status: number, took: number) => {
      requests.inc({ method: METHODS.has(method) ? method : "other", route, status });
      seconds.observe({ route }, took);
    },
    /** Counts a refusal of a signature or a right. */
    refusal: (reason: string) => refusals.inc({ reason }),
    /** Shows how many requests are let in. */
    gate: (gate: Gate) => {
      new Counter({
        name: "unibus_http_shed_total",
        help: "Requests refused because of overload",
        registers,
        collect() {
          this.reset();
          this.inc(gate.shed);
        },
      });
      gauge("unibus_http_in_flight", "Requests in flight", () => gate.inFlight);
      gauge("unibus_http_in_flight_limit", "Current limit of requests in flight", () => gate.limit);
    },
    /** Adds a number of something else. */
    gauge,
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}
