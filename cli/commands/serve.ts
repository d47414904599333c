/**
 * `serve`, and no command at all: the server.
 *
 * @module
 */

import { Option } from "@commander-js/extra-typings";
import { command, type CommandUnknownOpts, type Context } from "../command.ts";
import { KEYS, type Spec, SPECS, variableOf } from "../serve/settings/settings.ts";

const MORE = `
Every flag may stand in the file of --config instead, in camel case (httpPort = 8470), or in the
environment (${
  variableOf("httpPort")
}=8470). A flag goes before the environment, the environment before
the file. UNIBUS_NATS_DEBUG=1 shows the nats-server's log and opens its monitoring port on loopback.`;

/** Makes the command. */
export function serveCommand(context: Context): CommandUnknownOpts {
  const it = command(
    context,
    "serve",
    "Run the server: the HTTP control plane, and a nats-server that it starts and watches. Ctrl-C or " +
      "SIGTERM stops it in order",
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
  for (const key of KEYS) it.addOption(optionOf(SPECS[key]) as Option);
  return it
    .option("--config <file>", "TOML file with settings")
    .option("--nats-only", "run the nats-server alone, to move a store into it or mend it")
    .option("--new", "begin an empty store even where another one lies beside it")
    .action(async (flags: Record<string, unknown>) => {
      const { readConfig } = await import("../serve/settings/resolve.ts");
      const { runServer } = await import("../serve/run.ts");
      const { env } = context.io;
      const path = flags.config as string | undefined ?? (env.UNIBUS_CONFIG || undefined);
      const file = path === undefined ? null : await readConfig(path);
      const texts = Object.fromEntries(
        Object.entries(flags).map(([name, value]) => [name, textOf(value)]),
      );
      await runServer(context, { flags: texts, env, file }, {
        natsOnly: flags.natsOnly === true,
        isNew: flags.new === true,
      });
    }) as CommandUnknownOpts;
}

/** A flag's value as text; a flag without a value says something only when it turns a thing off. */
function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : value === false ? "false" : undefined;
}

function optionOf({ flag, group, help, fallback, shown, many }: Spec<unknown>): Option {
  const absent = fallback === null || typeof fallback === "boolean" ||
    (many && shown === undefined);
  const text = absent ? help : `${help} (default: ${shown ?? fallback})`;
  const option = new Option(flag, text).helpGroup(group);
  // As in a list of flags, where the last one counts; lists grow.
  if (many) {
    option.argParser((value: string, before?: string) => before ? `${before},${value}` : value);
  }
  return option;
}
