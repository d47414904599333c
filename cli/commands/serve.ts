/**
 * `serve`, also the default command: runs the server.
 *
 * @module
 */

import { Option } from "@commander-js/extra-typings";
import { command, type CommandUnknownOpts, type Context } from "../command.ts";
import { HEADINGS, KEYS, type Spec, SPECS, variableOf } from "../settings/settings.ts";

const MORE = `
Every flag can also be set in the --config file, in camel case (httpPort = 8470), or in the
environment (${
  variableOf("httpPort")
}=8470). Flags override the environment, which overrides the file.
UNIBUS_NATS_DEBUG=1 shows the nats-server's log and opens its monitoring port on loopback.`;

/** Creates the command. */
export function serveCommand(context: Context): CommandUnknownOpts {
  const serve = command(
    context,
    "serve",
    "Run the server: the HTTP control plane and a nats-server that it starts and supervises. Ctrl-C " +
      "or SIGTERM stops it gracefully",
    [
      "membershipd",
      "membershipd serve --store jetstream --bus-auth enforce",
      "membershipd serve --bind 0.0.0.0 --bus-auth enforce --tls-cert cert.pem --tls-key key.pem",
      "membershipd serve --nats-url nats://10.0.0.1:4222 --bus-auth enforce --service-keys keys.json",
      "membershipd serve --config membershipd.toml",
    ],
  )
    .optionsGroup("Running:")
    .addHelpText("after", MORE);
  let heading = "";
  for (const key of KEYS) {
    heading = HEADINGS[key] ?? heading;
    serve.addOption(optionOf(SPECS[key]).helpGroup(heading));
  }
  return serve
    .option("--config <file>", "TOML file with settings")
    .option("--nats-only", "run only the nats-server, to migrate a store into it or to repair it")
    .option("--new", "create an empty store even if another one exists next to it")
    .action(async (flags: Record<string, unknown>) => {
      const { readConfig } = await import("../settings/resolve.ts");
      const { runAgain } = await import("../serve/again.ts");
      const { env } = context.io;
      const path = flags.config as string | undefined ?? (env.UNIBUS_CONFIG || undefined);
      const texts = Object.fromEntries(
        Object.entries(flags).map(([name, value]) => [name, textOf(value)]),
      );
      const given = async () => {
        const file = path === undefined ? null : await readConfig(path);
        return { flags: texts, env, file };
      };
      await runAgain(context, given, {
        natsOnly: flags.natsOnly === true,
        isNew: flags.new === true,
      });
    }) as CommandUnknownOpts;
}

/** Returns a flag's value as text; a flag without a value counts only if it turns something off. */
function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : value === false ? "false" : undefined;
}

function optionOf({ flag, help, fallback, shown, many }: Spec<unknown>): Option {
  const absent = fallback === null || typeof fallback === "boolean" ||
    (many && shown === undefined);
  const text = absent ? help : `${help} (default: ${shown ?? fallback})`;
  const option = new Option(flag, text);
  // Repeating a flag overrides its value, but extends a list.
  if (many) {
    option.argParser((value: string, before?: string) => before ? `${before},${value}` : value);
  }
  return option;
}
