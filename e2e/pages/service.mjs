// Starts the real host with real components, the gists API on top of the fake GitHub.
import { spawn } from "node:child_process";
import path from "node:path";
import readline from "node:readline";

const workspace = path.resolve(import.meta.dirname, "../..");
export const target = path.resolve(workspace, process.env.CARGO_TARGET_DIR ?? "target");

// How long a program may take to start, in milliseconds. The first start compiles the component.
const PATIENCE = 60_000;

/** Starts the gists API: `{ url, stop }`; `settings` are variables of spin.toml in capitals. */
export const start = (settings) => running(async (children) => {
  const fake = launch(children, "fake-github", ["--demo", "--listen", "127.0.0.1:0"], {});
  const github = await fake((line) => /^fake GitHub on (\S+)/.exec(line)?.[1]);
  return host(children, "spin.toml", { ...settings, GITHUB_API_URL: github });
});

/** Starts what a manifest names: `{ url, stop }`; `settings` are its variables in capitals. */
export const serve = (manifest, settings) => running((children) => host(children, manifest, settings));

// Starts what `begin` launches. The children end with this process, and if `begin` fails.
const running = async (begin) => {
  const children = [];
  const stop = () => children.forEach((child) => child.kill());
  process.once("exit", stop);
  try {
    return { url: await begin(children), stop };
  } catch (error) {
    stop();
    throw error;
  }
};

// Starts a host, and returns its URL when it is ready.
const host = async (children, manifest, settings) => {
  const flags = ["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--log-format=json", `--cache-dir=${target}/e2e-cache`];
  const lines = launch(children, "wasi-http-host", ["serve", manifest, ...flags], settings);
  let address;
  await lines((line) => {
    const entry = JSON.parse(line);
    if (entry.message === "listening" && entry.listener === "main") address = entry.address;
    return entry.message === "ready";
  });
  return `http://${address}`;
};

// Starts a program of the release build. The result waits for the line of its output in which `find` finds something.
const launch = (children, program, flags, settings) => {
  const child = spawn(path.join(target, "release", program), flags, {
    cwd: workspace,
    env: { ...process.env, ...settings },
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  const lines = readline.createInterface({ input: child.stdout });
  return (find) => new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${program} did not start within ${PATIENCE / 1000} s`)), PATIENCE);
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`${program} ended with ${code}`)));
    lines.on("line", (line) => {
      const found = find(line);
      if (!found) return;
      clearTimeout(timer);
      resolve(found);
    });
  });
};
