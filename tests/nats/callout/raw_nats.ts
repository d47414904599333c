/**
 * A NATS client of a few lines over a bare socket, for tests of who gets in: it says exactly what it is
 * told to, sees the server's own words, and no library comes between.
 *
 * @module
 */

import { once } from "node:events";
import { createConnection, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

/** What the server says first. */
export interface ServerInfo {
  server_id: string;
  nonce?: string;
  client_id: number;
}

/** A message that arrived. */
export interface RawMessage {
  subject: string;
  reply?: string;
  data: string;
}

/** One connection. */
export class RawClient implements AsyncDisposable {
  #socket: Socket;
  #text = "";
  #sid = 0;
  #look: () => void = () => {};
  #pongs = 0;
  info: ServerInfo | null = null;
  /** What the server objected to, such as `'Authorization Violation'`. */
  readonly errors: string[] = [];
  readonly messages: RawMessage[] = [];
  /** Whether the connection has ended. */
  ended = false;

  private constructor(port: number) {
    this.#socket = createConnection(port, "127.0.0.1");
    this.#listen();
  }

  #listen(): void {
    this.#socket.setEncoding("latin1");
    this.#socket.on("error", () => {});
    this.#socket.on("data", (text: unknown) => this.#read(String(text)));
    this.#socket.on("close", () => {
      this.ended = true;
      this.#look();
    });
  }

  /** Opens a connection, up to the server's greeting; with `ca`, secures it then. */
  static async open(port: number, ca?: string): Promise<RawClient> {
    const client = new RawClient(port);
    await client.until(() => client.info !== null || client.ended);
    if (client.info === null) throw new Error(`No server greets on port ${port}`);
    if (ca === undefined) return client;
    const socket = client.#socket;
    socket.removeAllListeners();
    client.#socket = connectTls({ socket, ca, host: "127.0.0.1" });
    client.#listen();
    await once(client.#socket, "secureConnect");
    return client;
  }

  /** Introduces itself; false when the server did not let it in. */
  async login(options: Record<string, unknown>): Promise<boolean> {
    const hello = { verbose: false, pedantic: false, lang: "raw", version: "1", protocol: 1 };
    this.#socket.write(`CONNECT ${JSON.stringify({ ...hello, ...options })}\r\n`);
    return await this.flush();
  }

  /** Waits until the server has seen all that was said; false when it ended the connection. */
  async flush(): Promise<boolean> {
    const wanted = this.#pongs + 1;
    this.#socket.write("PING\r\n");
    await this.until(() => this.#pongs >= wanted || this.ended);
    return !this.ended;
  }

  /** Publishes. */
  publish(subject: string, data = "", reply = ""): void {
    this.#socket.write(
      `PUB ${subject}${reply && ` ${reply}`} ${
        new TextEncoder().encode(data).length
      }\r\n${data}\r\n`,
    );
  }

  /** Subscribes. */
  subscribe(subject: string, queue = ""): void {
    this.#socket.write(`SUB ${subject}${queue && ` ${queue}`} ${++this.#sid}\r\n`);
  }

  /** Whether the server takes a publication; it is heard of only when not. */
  async mayPublish(subject: string, data = ""): Promise<boolean> {
    return await this.#may(() => this.publish(subject, data));
  }

  /** Whether the server takes a subscription. */
  async maySubscribe(subject: string, queue = ""): Promise<boolean> {
    return await this.#may(() => this.subscribe(subject, queue));
  }

  async #may(act: () => void): Promise<boolean> {
    const before = this.errors.length;
    act();
    if (!await this.flush()) throw new Error(`The connection ended: ${this.errors}`);
    return this.errors.length === before;
  }

  /** Waits for something to become true. */
  async until(condition: () => boolean, ms = 60_000): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => reject(new Error(`Not within ${ms} ms: ${condition}`)), ms);
    this.#look = () => {
      if (condition()) resolve();
    };
    this.#look();
    try {
      await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.ended) return;
    const closed = once(this.#socket, "close");
    this.#socket.destroy();
    await closed;
  }

  #read(text: string): void {
    this.#text += text;
    for (let end = this.#text.indexOf("\r\n"); end >= 0; end = this.#text.indexOf("\r\n")) {
      const line = this.#text.slice(0, end);
      if (line.startsWith("MSG ")) {
        const [, subject, , ...rest] = line.split(" ");
        const size = Number(rest.at(-1));
        if (this.#text.length < end + 4 + size) break;
        this.messages.push({
          subject: subject!,
          ...(rest.length > 1 ? { reply: rest[0]! } : {}),
          data: this.#text.slice(end + 2, end + 2 + size),
        });
        this.#text = this.#text.slice(end + 4 + size);
        continue;
      }
      this.#text = this.#text.slice(end + 2);
      if (line.startsWith("INFO ")) this.info ??= JSON.parse(line.slice(5));
      else if (line === "PING") this.#socket.write("PONG\r\n");
      else if (line === "PONG") this.#pongs++;
      else if (line.startsWith("-ERR ")) this.errors.push(line.slice(5));
    }
    this.#look();
  }
}
